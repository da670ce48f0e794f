-- Checkpoints: one row per Key.

-- name: clock.now
SELECT {now_us};

-- name: checkpoint.ensure
INSERT INTO belaypin_checkpoint (pipeline, entity, stream, created_us, updated_us)
VALUES (:pipeline, :entity, :stream, {now_us}, {now_us})
ON CONFLICT (pipeline, entity, stream) DO NOTHING;

-- name: checkpoint.find
SELECT key_id
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: checkpoint.read
-- With the dictionary that states of this kind are to be saved with, if there is one.
SELECT key_id, state, version, schema_version, content_hash, generation, items, skipped, changed, late,
       stale, processor, revision, too_late, horizon_us, attempts, created_us, updated_us, completed_us,
       first_seen_us, last_seen_us, {now_us} AS now_us,
       (SELECT d.dictionary_id
        FROM belaypin_dictionary AS d
        WHERE d.pipeline = c.pipeline AND d.stream = c.stream AND c.entity <> ''
        ORDER BY d.created_us DESC, d.dictionary_id DESC
        LIMIT 1) AS dictionary_id
FROM belaypin_checkpoint AS c
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: checkpoint.lock
-- With the dictionary that states of this kind are to be saved with, if there is one.
SELECT version, content_hash, schema_version, revision, processor,
       (SELECT d.dictionary_id
        FROM belaypin_dictionary AS d
        WHERE d.pipeline = c.pipeline AND d.stream = c.stream AND c.entity <> ''
        ORDER BY d.created_us DESC, d.dictionary_id DESC
        LIMIT 1) AS dictionary_id
FROM belaypin_checkpoint AS c
WHERE key_id = :key_id
{for_update};

-- name: checkpoint.content_hash
SELECT key_id, content_hash, revision, processor
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: checkpoint.save
UPDATE belaypin_checkpoint
SET state = :state, schema_version = :schema_version, version = version + 1, updated_us = {now_us}
WHERE key_id = :key_id AND version = :version
RETURNING version;

-- name: checkpoint.content
-- What was seen, and when: the version grows only with the content.
UPDATE belaypin_checkpoint
SET content_hash = :content_hash, revision = COALESCE(:revision, revision), processor = :processor,
    version = version + 1, changed = changed + 1,
    first_seen_us = COALESCE(first_seen_us, {now_us}), last_seen_us = {now_us}, updated_us = {now_us}
WHERE key_id = :key_id
RETURNING version;

-- name: checkpoint.revised
-- A newer revision with the same content.
UPDATE belaypin_checkpoint
SET revision = :revision, last_seen_us = {now_us}, skipped = skipped + 1
WHERE key_id = :key_id;

-- name: checkpoint.stale
UPDATE belaypin_checkpoint
SET stale = stale + 1
WHERE key_id = :key_id;

-- name: checkpoint.unchanged
UPDATE belaypin_checkpoint
SET last_seen_us = {now_us}, skipped = skipped + 1
WHERE key_id = :key_id AND content_hash = :content_hash
RETURNING version;
