-- Failures: items that were put aside. Rows of a stream change only under its row's lock, except for
-- what replay sets, which the next look-up under the lock finds.

-- name: failure.save
INSERT INTO belaypin_failure (key_id, generation, item_id, event_us, status, attempts, next_try_us, error, traceback,
                              fingerprint, payload, first_us, last_us, token)
VALUES (:key_id, :generation, :item_id, :event_us, :status, :attempts, :next_try_us, :error, :traceback,
        :fingerprint, :payload, {now_us}, {now_us}, :token)
ON CONFLICT (key_id, generation, item_id) DO UPDATE SET
    is_hole = CASE WHEN belaypin_failure.event_us = excluded.event_us THEN belaypin_failure.is_hole ELSE 0 END,
    event_us = excluded.event_us, status = excluded.status, attempts = excluded.attempts,
    next_try_us = excluded.next_try_us, error = excluded.error, traceback = excluded.traceback,
    fingerprint = excluded.fingerprint, payload = COALESCE(excluded.payload, belaypin_failure.payload),
    last_us = excluded.last_us, token = excluded.token;

-- name: failure.renew
-- The source showed newer content of an item that stays put aside.
UPDATE belaypin_failure
SET payload = :payload, fingerprint = :fingerprint, event_us = COALESCE(event_us, :event_us)
WHERE failure_id = :failure_id;

-- name: failure.delete
DELETE FROM belaypin_failure
WHERE failure_id = :failure_id;

-- name: failure.count
UPDATE belaypin_checkpoint
SET failures = (SELECT COUNT(*) FROM belaypin_failure AS f WHERE f.key_id = :key_id AND f.generation = :generation)
WHERE key_id = :key_id;

-- name: failure.at
-- What failed at one instant: how many, and whether it was cut out of the coverage.
SELECT COUNT(*), COALESCE(MAX(is_hole), 0)
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND event_us = :event_us;

-- name: failure.cut
-- These instants would be covered, if the items had not failed.
UPDATE belaypin_failure
SET is_hole = 1
WHERE key_id = :key_id AND generation = :generation AND event_us >= :start_us AND event_us < :end_us AND is_hole = 0;

-- name: failure.instants
SELECT DISTINCT event_us
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND event_us >= :start_us AND event_us < :end_us
ORDER BY event_us;

-- name: failure.holes
SELECT DISTINCT event_us
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND is_hole = 1
ORDER BY event_us;

-- name: failure.due
SELECT failure_id, item_id, payload
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND status = 'waiting' AND next_try_us <= :due_us
  AND payload IS NOT NULL AND failure_id > :after
ORDER BY failure_id
LIMIT :limit;

-- name: failure.unnamed
-- Items that killed their workers before anybody had read their ids: known by their JSON only.
SELECT item_id
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND item_id >= '?' AND item_id < '@';

-- name: failure.list
-- Oldest first, of the present generation of each stream.
SELECT f.failure_id, c.pipeline, c.entity, c.stream, f.item_id, f.status, f.attempts, f.next_try_us, f.event_us,
       f.error, f.traceback, f.first_us, f.last_us, f.token
FROM belaypin_failure AS f
JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id AND c.generation = f.generation
WHERE f.failure_id > :after
  AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
  AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND f.status >= :status AND f.status <= :last_status
  AND SUBSTR(f.error, 1, :error_chars) = :error
ORDER BY f.failure_id
LIMIT :limit;

-- name: failure.stretch
-- Of the newest failures below a number: how many are looked at, and down to which.
SELECT COUNT(*), MIN(failure_id), {now_us} AS now_us
FROM (SELECT failure_id FROM belaypin_failure WHERE failure_id < :before ORDER BY failure_id DESC LIMIT :scan) AS seen;

-- name: failure.newest
-- Of a stretch, newest first, only what they are grouped by: texts that are long are cut.
SELECT f.status, SUBSTR(f.error, 1, 300) AS error, f.first_us, f.last_us
FROM belaypin_failure AS f
JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id AND c.generation = f.generation
WHERE f.failure_id >= :first AND f.failure_id < :before
  AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
  AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND f.status >= :status AND f.status <= :last_status
  AND SUBSTR(f.error, 1, :error_chars) = :error
ORDER BY f.failure_id DESC;

-- name: failure.read
SELECT f.failure_id, c.pipeline, c.entity, c.stream, f.item_id, f.status, f.attempts, f.next_try_us, f.event_us,
       f.error, f.traceback, f.first_us, f.last_us, f.token, f.payload
FROM belaypin_failure AS f
JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id AND c.generation = f.generation
WHERE f.failure_id = :failure_id;

-- name: failure.replay
UPDATE belaypin_failure
SET status = 'waiting', attempts = 0, next_try_us = {now_us}
WHERE failure_id = :failure_id
RETURNING key_id;

-- name: failure.quarantine
UPDATE belaypin_failure
SET status = 'quarantined', error = :error, last_us = {now_us}
WHERE failure_id = :failure_id
RETURNING key_id;

-- name: failure.lock
-- A stream's row, held without a lease: a person acts, not a worker.
SELECT key_id, generation, commits, commit_id, head_seq, barrier_seq, progress, processor, failures, horizon_us,
       {now_us} AS now_us
FROM belaypin_checkpoint
WHERE key_id = :key_id
{for_update};

-- name: failure.standing
SELECT failure_id, item_id, status, attempts, next_try_us, event_us, is_hole, fingerprint,
       CASE WHEN payload IS NULL THEN 0 ELSE 1 END AS has_payload
FROM belaypin_failure
WHERE failure_id = :failure_id;

-- name: failure.settle
-- An item was given up for good: the ledger has it now.
UPDATE belaypin_checkpoint
SET commits = commits + 1, head_seq = :head_seq, items = items + :items, changed = changed + :changed,
    updated_us = {now_us}
WHERE key_id = :key_id;

-- name: failure.page
-- For verify: each row with its payload, its key (if it has one), and what contradicts it.
SELECT f.failure_id, c.pipeline, c.entity, c.stream, f.key_id, f.payload,
       CASE WHEN c.generation = f.generation AND c.failures = 0 THEN 1 ELSE 0 END AS is_uncounted,
       CASE WHEN EXISTS (
           SELECT 1 FROM belaypin_coverage AS v
           WHERE v.key_id = f.key_id AND v.generation = f.generation
             AND v.start_us <= f.event_us AND v.end_us > f.event_us) THEN 1 ELSE 0 END AS is_covered
FROM belaypin_failure AS f
LEFT JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id
WHERE f.failure_id > :after
  AND (COALESCE(c.pipeline, ''), COALESCE(c.entity, ''), COALESCE(c.stream, '')) >= (:pipeline, :entity, :stream)
  AND (COALESCE(c.pipeline, ''), COALESCE(c.entity, ''), COALESCE(c.stream, ''))
      <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY f.failure_id
LIMIT :limit;

-- name: failure.copy
-- How a stream stood: to a savepoint (whose generation is its number, negative), and back from it.
INSERT INTO belaypin_failure (key_id, generation, item_id, event_us, is_hole, status, attempts, next_try_us, error,
                              traceback, fingerprint, payload, first_us, last_us, token)
SELECT :to_key_id, :to_generation, item_id, event_us, is_hole, status, attempts, next_try_us, error, traceback,
       fingerprint, payload, first_us, last_us, token
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation
ON CONFLICT (key_id, generation, item_id) DO NOTHING;

-- name: failure.forget
DELETE FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation;
