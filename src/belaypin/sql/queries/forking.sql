-- Forks: an entity copied under a new name, in one transaction. Leases and savepoints stay behind.

-- name: fork.begin
INSERT INTO belaypin_fork (pipeline, source, started_us)
VALUES (:pipeline, :source, {now_us})
ON CONFLICT (pipeline) DO NOTHING;

-- name: fork.read
SELECT source, copied_to, finished_us
FROM belaypin_fork
WHERE pipeline = :pipeline;

-- name: fork.advance
-- Who else makes the same fork and was faster has moved it on: then no row comes back.
UPDATE belaypin_fork
SET copied_to = :entity
WHERE pipeline = :pipeline AND finished_us IS NULL AND (copied_to IS NULL OR copied_to < :entity)
RETURNING copied_to;

-- name: fork.finish
UPDATE belaypin_fork
SET finished_us = {now_us}
WHERE pipeline = :pipeline;

-- name: fork.forget
DELETE FROM belaypin_fork
WHERE pipeline = :pipeline;

-- name: fork.exists
SELECT MIN(entity)
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity >= :entity AND entity <= :last_entity;

-- name: fork.key
INSERT INTO belaypin_checkpoint
    (pipeline, entity, stream, generation, commits, head_seq, progress, is_open, items, skipped, changed,
     late, stale, too_late, dropped, horizon_us, processor, revision, failures, priority, version, state,
     schema_version, content_hash, first_seen_us, last_seen_us, created_us, updated_us, completed_us)
SELECT :new_pipeline, :new_entity, stream, generation, commits, head_seq, progress, is_open, items, skipped,
       changed, late, stale, too_late, dropped, horizon_us, processor, revision, failures, priority, version,
       state, schema_version, content_hash, first_seen_us, last_seen_us, created_us, updated_us, completed_us
FROM belaypin_checkpoint
WHERE key_id = :key_id
ON CONFLICT (pipeline, entity, stream) DO NOTHING
RETURNING key_id;

-- name: fork.segments
INSERT INTO belaypin_segment
    (key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, newest_us, payload)
SELECT :new_key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, newest_us, payload
FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation;

-- name: fork.coverage
INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)
SELECT :new_key_id, generation, start_us, end_us
FROM belaypin_coverage
WHERE key_id = :key_id AND generation = :generation;

-- name: fork.history
INSERT INTO belaypin_history
    (key_id, version, schema_version, is_damaged, state, content_hash, saved_us, kept_us, token, reason)
SELECT :new_key_id, version, schema_version, is_damaged, state, content_hash, saved_us, kept_us, token, reason
FROM belaypin_history
WHERE key_id = :key_id;

-- name: fork.originals
INSERT INTO belaypin_original (key_id, schema_version, version, state, replaced_by, replaced_us)
SELECT :new_key_id, schema_version, version, state, replaced_by, replaced_us
FROM belaypin_original
WHERE key_id = :key_id;
