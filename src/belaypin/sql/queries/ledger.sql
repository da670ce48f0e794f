-- The packed ledger, and the stream row that serialises its writers.

-- name: stream.read
SELECT generation, commits, commit_id, head_seq, progress, {now_us} AS now_us
FROM belaypin_checkpoint
WHERE key_id = :key_id;

-- name: stream.lock
-- Always after the lease row: one order for every writer, so no two can deadlock.
SELECT generation, commits, commit_id, head_seq, progress, {now_us} AS now_us
FROM belaypin_checkpoint
WHERE key_id = :key_id
{for_update};

-- name: stream.advance
UPDATE belaypin_checkpoint
SET commits = commits + 1, commit_id = :commit_id, head_seq = :head_seq, progress = :progress,
    items = items + :items, skipped = skipped + :skipped, changed = changed + :changed,
    late = late + :late, updated_us = {now_us}
WHERE key_id = :key_id;

-- name: segment.list
SELECT seq, level, items, low, high
FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation
ORDER BY seq;

-- name: segment.read
SELECT payload
FROM belaypin_segment
WHERE key_id = :key_id AND seq = :seq;

-- name: segment.append
INSERT INTO belaypin_segment (key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, payload)
VALUES (:key_id, :seq, :generation, :level, :items, :low, :high, :raw_bytes, :token, {now_us}, :payload);

-- name: segment.delete
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND seq = :seq;
