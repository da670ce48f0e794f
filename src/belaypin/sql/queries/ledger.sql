-- The packed ledger, and the stream row that serialises its writers.

-- name: stream.read
SELECT key_id, generation, commits, commit_id, head_seq, barrier_seq, progress, processor, failures, horizon_us, {now_us} AS now_us
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: stream.lock
-- The first statement of a page's commit: is the lease still ours, and where does the stream stand?
-- Both rows are held until the transaction ends, the lease's first: one order for every writer, so
-- that no two can deadlock. No row means: fenced.
SELECT c.key_id, c.generation, c.commits, c.commit_id, c.head_seq, c.barrier_seq, c.progress, c.processor, c.failures,
       c.horizon_us, {now_us} AS now_us, {idle_limit} AS idle_limit
FROM belaypin_lease AS l
JOIN belaypin_checkpoint AS c ON c.key_id = :stream_id
WHERE l.key_id = :key_id AND l.role = :role AND l.owner = :owner AND l.token = :token
  AND l.expires_us <> 0
{for_update};

-- name: stream.advance
UPDATE belaypin_checkpoint
SET commits = commits + 1, commit_id = :commit_id, head_seq = :head_seq, progress = :progress,
    items = items + :items, skipped = skipped + :skipped, changed = changed + :changed,
    late = late + :late, stale = stale + :stale, too_late = too_late + :too_late, horizon_us = :horizon_us,
    live_from_us = COALESCE(CAST(:live_from_us AS BIGINT), live_from_us),
    live_to_us = COALESCE(CAST(:live_to_us AS BIGINT), live_to_us), updated_us = {now_us}
WHERE key_id = :key_id;

-- name: stream.process_again
-- What was committed lies in older generations and counts no more; the segments' numbers go on. The
-- new generation has an empty ledger, that has forgotten nothing: so it has no horizon yet.
UPDATE belaypin_checkpoint
SET generation = :generation, processor = :processor, progress = '{}', is_open = 0,
    items = 0, skipped = 0, changed = 0, late = 0, stale = 0, failures = 0, too_late = 0, dropped = 0,
    live_from_us = NULL, live_to_us = NULL, horizon_us = -62135596800000000, updated_us = {now_us}
WHERE key_id = :key_id;

-- name: stream.turn
-- Only when the first window has opened or the last one closed: is_open is indexed, for plans to find
-- what was begun, and a page that changes no indexed column is cheaper on PostgreSQL.
UPDATE belaypin_checkpoint
SET is_open = CASE WHEN progress = '{}' THEN 0 ELSE 1 END
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
INSERT INTO belaypin_segment
    (key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, payload, newest_us)
VALUES (:key_id, :seq, :generation, :level, :items, :low, :high, :raw_bytes, :token, {now_us}, :payload, :newest_us);

-- name: segment.take
-- The segments of one level, all at once: they are about to be merged into one of the next. Those up
-- to the barrier belong to a savepoint, and stay as they are.
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation AND level = :level AND seq > :barrier_seq
RETURNING seq, payload, newest_us;
