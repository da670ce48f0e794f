-- Recovery: what a plan reads, each part through an index that holds nothing but open work.

-- name: recovery.work
-- A row for each lease of each entity with an open window, a lease that was not released, or a failure
-- that is not over; and for each of its streams with an open window. The most important come first.
WITH wanted AS (
    SELECT e.key_id
    FROM belaypin_checkpoint AS o
    JOIN belaypin_checkpoint AS e ON e.pipeline = o.pipeline AND e.entity = o.entity AND e.stream = ''
    WHERE o.is_open = 1
    UNION
    SELECT l.key_id
    FROM belaypin_lease AS l
    WHERE l.expires_us <> 0
    UNION
    SELECT f.key_id
    FROM belaypin_checkpoint AS f
    WHERE f.failed_us IS NOT NULL
), picked AS (
    SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failures, e.failed_us, e.failed_role,
           SUBSTR(e.error, 1, 500) AS error, e.next_try_us, e.runs, e.busy_us, e.idle_attempts, e.idle_mark
    FROM wanted AS w
    JOIN belaypin_checkpoint AS e ON e.key_id = w.key_id
    WHERE e.pipeline >= :pipeline AND e.pipeline <= :last_pipeline AND e.quarantined_us IS NULL
    ORDER BY e.priority DESC, e.key_id
    LIMIT :most
)
SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failures, e.failed_us, e.failed_role, e.error,
       e.next_try_us, e.runs, e.busy_us,
       CASE WHEN e.idle_attempts < :deaths THEN 0
            WHEN e.idle_mark = (SELECT SUM(c.commits + c.version) FROM belaypin_checkpoint AS c
                                WHERE c.pipeline = e.pipeline AND c.entity = e.entity)
            THEN e.idle_attempts ELSE 0 END AS deaths,
       l.role, l.owner, l.token, l.ttl_us, l.expires_us, o.stream, o.progress,
       CASE WHEN o.key_id IS NOT NULL THEN (SELECT MIN(v.end_us) FROM belaypin_coverage AS v
            WHERE v.key_id = o.key_id AND v.generation = o.generation) END AS head_us
FROM picked AS e
LEFT JOIN belaypin_lease AS l ON l.key_id = e.key_id
LEFT JOIN belaypin_checkpoint AS o ON o.pipeline = e.pipeline AND o.entity = e.entity AND o.is_open = 1
ORDER BY e.priority DESC, e.key_id;

-- name: recovery.operations
SELECT operation_id, status, owner, token, attempts, ttl_us, expires_us, SUBSTR(error, 1, 500)
FROM belaypin_operation
WHERE status <> 'done'
ORDER BY operation_id
LIMIT :most;

-- name: recovery.quarantined
SELECT COUNT(*)
FROM belaypin_checkpoint
WHERE quarantined_us IS NOT NULL AND pipeline >= :pipeline AND pipeline <= :last_pipeline;

-- name: recovery.typical
-- How long the first entities of a pipeline have taken: a sample, so that it costs the same however many
-- there are.
SELECT CAST(SUM(busy_us) AS BIGINT), CAST(SUM(runs) AS BIGINT)
FROM (SELECT busy_us, runs
      FROM belaypin_checkpoint
      WHERE pipeline = :pipeline AND entity > '' AND stream = ''
      ORDER BY entity
      LIMIT :sample) AS first;

-- name: recovery.quarantine
UPDATE belaypin_checkpoint
SET quarantined_us = {now_us}, quarantine_reason = :reason, failed_role = :role
WHERE key_id = :key_id AND quarantined_us IS NULL
RETURNING key_id;

-- name: recovery.close
-- Windows that can't be read: begun again at their first page, as the ledger knows what is committed.
UPDATE belaypin_checkpoint
SET progress = '{}', is_open = 0
WHERE key_id = :key_id AND progress = :progress
RETURNING key_id;

-- name: recovery.stream
SELECT k.key_id, k.progress, e.key_id,
       (SELECT l.role FROM belaypin_lease AS l WHERE l.key_id = e.key_id ORDER BY l.acquired_us DESC LIMIT 1) AS role
FROM belaypin_checkpoint AS k
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = k.pipeline AND e.entity = k.entity AND e.stream = ''
WHERE k.pipeline = :pipeline AND k.entity = :entity AND k.stream = :stream;

-- name: recovery.lapse
UPDATE belaypin_operation
SET status = 'failed', error = :error, updated_us = {now_us}
WHERE operation_id = :operation_id AND token = :token AND status = 'running'
RETURNING token;

-- name: recovery.prioritise
UPDATE belaypin_checkpoint
SET priority = :priority
WHERE key_id = :key_id;
