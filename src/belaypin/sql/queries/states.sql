-- States: of components, saved with a page; of older schemas, brought up to date in bulk.

-- name: state.save
-- The caller holds the lease. The version is the one that its component was restored from, or saved
-- as: somebody else's state is not overwritten, nor one that newer code has written.
UPDATE belaypin_checkpoint
SET state = :state, schema_version = :schema_version, version = version + 1, updated_us = {now_us},
    completed_us = CASE WHEN :is_complete = 1 THEN COALESCE(completed_us, {now_us}) END
WHERE key_id = :key_id AND version = :version AND schema_version <= :schema_version
RETURNING version;

-- name: state.batch
-- One step through the states of one kind, in key order; only those to be upcast come with their bytes.
-- An entity of '' is the pipeline's own state, which is of another kind.
SELECT key_id, entity, version, schema_version,
       CASE WHEN schema_version < :schema_version THEN state END AS state
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND stream = :stream AND entity > :after_entity AND state IS NOT NULL
ORDER BY entity
LIMIT :row_limit;

-- name: state.upcast
-- The same state in another shape: neither its version nor its time moves, so a worker that has
-- loaded it may still save.
UPDATE belaypin_checkpoint
SET state = :state, schema_version = :schema_version
WHERE key_id = :key_id;

-- name: original.keep
-- The caller holds the row's lock.
INSERT INTO belaypin_original (key_id, schema_version, version, state, replaced_by, replaced_us)
SELECT key_id, schema_version, version, state, :schema_version, {now_us}
FROM belaypin_checkpoint
WHERE key_id = :key_id AND state IS NOT NULL AND schema_version < :schema_version
ON CONFLICT (key_id, schema_version) DO UPDATE SET
    version = excluded.version,
    state = excluded.state,
    replaced_by = excluded.replaced_by,
    replaced_us = excluded.replaced_us;

-- name: original.list
SELECT o.schema_version, o.version, o.state, o.replaced_us
FROM belaypin_original AS o
JOIN belaypin_checkpoint AS k ON k.key_id = o.key_id
WHERE k.pipeline = :pipeline AND k.entity = :entity AND k.stream = :stream
ORDER BY o.schema_version;

-- name: original.span
-- How far the next small step of confirming goes.
SELECT MAX(key_id)
FROM (SELECT key_id FROM belaypin_original WHERE key_id > :after_id ORDER BY key_id LIMIT :row_limit) AS step;

-- name: original.confirm
DELETE FROM belaypin_original
WHERE key_id > :after_id AND key_id <= :last_id AND schema_version < :schema_version
  AND key_id IN (
      SELECT key_id
      FROM belaypin_checkpoint
      WHERE key_id > :after_id AND key_id <= :last_id AND pipeline = :pipeline AND stream = :stream
        AND entity <> '' AND schema_version >= :schema_version)
RETURNING key_id;
