-- Upkeep: what `verify` and `explain` read. Never a lock, never more than one page of keys at once.

-- name: upkeep.keys
-- In key order, from one key to another, both included. A large state is read by itself.
SELECT key_id, pipeline, entity, stream, generation, commits, head_seq, progress, items, skipped, changed, late,
       too_late, dropped, horizon_us, attempts, version, schema_version, content_hash, first_seen_us, last_seen_us,
       CASE WHEN LENGTH(state) <= :inline_bytes THEN state END AS small_state,
       LENGTH(state) AS state_bytes,
       (SELECT MAX(s.seq) FROM belaypin_segment AS s WHERE s.key_id = c.key_id) AS last_seq,
       is_open
FROM belaypin_checkpoint AS c
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT :limit;

-- name: upkeep.state
SELECT state
FROM belaypin_checkpoint
WHERE key_id = :key_id;

-- name: upkeep.coverage
-- The page has a LIMIT, as it tells PostgreSQL that it is small: look each key up.
WITH page AS (
    SELECT key_id
    FROM belaypin_checkpoint
    WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
      AND (entity, stream) <= (:last_entity, :last_stream)
    ORDER BY pipeline, entity, stream
    LIMIT :limit
)
SELECT v.key_id, v.generation, v.start_us, v.end_us
FROM page
JOIN belaypin_coverage AS v ON v.key_id = page.key_id
ORDER BY v.key_id, v.generation, v.start_us;

-- name: upkeep.history
-- What a repair has set aside is known to be damaged.
WITH page AS (
    SELECT key_id
    FROM belaypin_checkpoint
    WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
      AND (entity, stream) <= (:last_entity, :last_stream)
    ORDER BY pipeline, entity, stream
    LIMIT :limit
)
SELECT h.key_id, h.version, h.schema_version, CASE WHEN LENGTH(h.state) <= :inline_bytes THEN h.state END
FROM page
JOIN belaypin_history AS h ON h.key_id = page.key_id
WHERE h.is_damaged = 0
ORDER BY h.key_id, h.version, h.schema_version;

-- name: upkeep.kept_state
SELECT state
FROM belaypin_history
WHERE key_id = :key_id AND version = :version AND schema_version = :schema_version AND is_damaged = 0;

-- name: upkeep.leases
WITH page AS (
    SELECT key_id
    FROM belaypin_checkpoint
    WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
      AND (entity, stream) <= (:last_entity, :last_stream)
    ORDER BY pipeline, entity, stream
    LIMIT :limit
)
SELECT l.key_id, l.role, l.owner, l.token, l.ttl_us, l.renewed_us, l.expires_us, {now_us} AS now_us
FROM page
JOIN belaypin_lease AS l ON l.key_id = page.key_id
ORDER BY l.key_id, l.role;

-- name: upkeep.standing
-- Whether a stream has moved on since: each commit changes at least one of these.
SELECT generation, commits, head_seq, items, changed, dropped
FROM belaypin_checkpoint
WHERE key_id = :key_id;

-- name: upkeep.short_ledgers
-- Where streams are many they are short: theirs come together, a statement for a page of keys.
WITH page AS (
    SELECT key_id, items
    FROM belaypin_checkpoint
    WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
      AND (entity, stream) <= (:last_entity, :last_stream)
    ORDER BY pipeline, entity, stream
    LIMIT :limit
)
SELECT s.key_id, s.seq, s.generation, s.level, s.items, s.low, s.high, s.raw_bytes, s.token, s.payload
FROM page
JOIN belaypin_segment AS s ON s.key_id = page.key_id
WHERE page.items <= :short_items
  AND (SELECT MAX(m.seq) FROM belaypin_segment AS m WHERE m.key_id = page.key_id) <= :short_seq
ORDER BY s.key_id, s.seq;

-- name: upkeep.segments
SELECT seq, generation, level, items, low, high, raw_bytes, token, payload
FROM belaypin_segment
WHERE key_id = :key_id AND seq > :after_seq
ORDER BY seq
LIMIT :limit;

-- name: upkeep.operations
SELECT operation_id, status, owner, token, attempts, ttl_us, expires_us, completed_us, result_expires_us,
       {now_us} AS now_us,
       CASE WHEN LENGTH(result) <= :inline_bytes THEN result END AS small_result,
       LENGTH(result) AS result_bytes
FROM belaypin_operation
WHERE operation_id > :after
ORDER BY operation_id
LIMIT :limit;

-- name: upkeep.result
SELECT result
FROM belaypin_operation
WHERE operation_id = :operation_id;

-- name: upkeep.next_key_id
-- The first key_id beyond :after that any record belongs to: key_ids may lie far apart.
SELECT MIN(key_id)
FROM (SELECT MIN(key_id) AS key_id FROM belaypin_segment WHERE key_id > :after
      UNION ALL SELECT MIN(key_id) FROM belaypin_coverage WHERE key_id > :after
      UNION ALL SELECT MIN(key_id) FROM belaypin_lease WHERE key_id > :after
      UNION ALL SELECT MIN(key_id) FROM belaypin_history WHERE key_id > :after
      UNION ALL SELECT MIN(key_id) FROM belaypin_savepoint_key WHERE key_id > :after) AS held;

-- name: upkeep.orphans
-- Records that belong to no key. They are made in the transaction that makes the key, or later.
SELECT 'segments' AS what, key_id, COUNT(*) AS records
FROM belaypin_segment AS r
WHERE key_id >= :first AND key_id < :beyond
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = r.key_id)
GROUP BY key_id
UNION ALL
SELECT 'coverage', key_id, COUNT(*)
FROM belaypin_coverage AS r
WHERE key_id >= :first AND key_id < :beyond
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = r.key_id)
GROUP BY key_id
UNION ALL
SELECT 'leases', key_id, COUNT(*)
FROM belaypin_lease AS r
WHERE key_id >= :first AND key_id < :beyond
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = r.key_id)
GROUP BY key_id
UNION ALL
SELECT 'history', key_id, COUNT(*)
FROM belaypin_history AS r
WHERE key_id >= :first AND key_id < :beyond
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = r.key_id)
GROUP BY key_id
UNION ALL
SELECT 'savepoints', key_id, COUNT(*)
FROM belaypin_savepoint_key AS r
WHERE key_id >= :first AND key_id < :beyond
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = r.key_id)
GROUP BY key_id
ORDER BY 2, 1;
