-- Recovery: what a plan reads, each part through an index that holds nothing but open work.

-- name: recovery.open
-- Streams with an open window, each with its entity and every lease of that. The statements that
-- tell of entities begin with the same columns, and list the most important first.
SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failed_runs, e.failed_us, e.failed_role,
       SUBSTR(e.error, 1, 500) AS error, e.next_try_us, e.runs, e.busy_us,
       l.role, l.owner, l.token, l.ttl_us, l.expires_us, o.stream, o.progress,
       (SELECT MIN(v.end_us) FROM belaypin_coverage AS v
        WHERE v.key_id = o.key_id AND v.generation = o.generation) AS head_us
FROM belaypin_checkpoint AS o
JOIN belaypin_checkpoint AS e ON e.pipeline = o.pipeline AND e.entity = o.entity AND e.stream = ''
LEFT JOIN belaypin_lease AS l ON l.key_id = e.key_id
WHERE o.is_open = 1 AND o.pipeline >= :pipeline AND o.pipeline <= :last_pipeline AND e.quarantined_us IS NULL
ORDER BY e.priority DESC, e.key_id
LIMIT :most;

-- name: recovery.leased
-- Leases that were not released, with how often workers died in a row before they committed anything:
-- whether the last one did is seen by the sum that was noted when it began.
SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failed_runs, e.failed_us, e.failed_role,
       SUBSTR(e.error, 1, 500) AS error, e.next_try_us, e.runs, e.busy_us,
       l.role, l.owner, l.token, l.ttl_us, l.expires_us,
       CASE WHEN e.idle_attempts < :deaths THEN 0
            WHEN e.idle_mark = (SELECT SUM(c.commits + c.version) FROM belaypin_checkpoint AS c
                                WHERE c.pipeline = e.pipeline AND c.entity = e.entity)
            THEN e.idle_attempts ELSE 0 END AS deaths
FROM belaypin_lease AS l
JOIN belaypin_checkpoint AS e ON e.key_id = l.key_id
WHERE l.expires_us <> 0 AND e.pipeline >= :pipeline AND e.pipeline <= :last_pipeline
  AND e.quarantined_us IS NULL
ORDER BY e.priority DESC, e.key_id
LIMIT :most;

-- name: recovery.failing
SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failed_runs, e.failed_us, e.failed_role,
       SUBSTR(e.error, 1, 500) AS error, e.next_try_us, e.runs, e.busy_us,
       l.role, l.owner, l.token, l.ttl_us, l.expires_us
FROM belaypin_checkpoint AS e
LEFT JOIN belaypin_lease AS l ON l.key_id = e.key_id AND l.role = e.failed_role
WHERE e.failed_us IS NOT NULL AND e.pipeline >= :pipeline AND e.pipeline <= :last_pipeline
  AND e.quarantined_us IS NULL
ORDER BY e.priority DESC, e.key_id
LIMIT :most;

-- name: recovery.items
-- Streams with items that failed and wait to be tried again, as windows() does: under the role that was
-- at the entity last.
WITH waiting AS (
    SELECT key_id, generation, COUNT(*) AS items, MIN(next_try_us) AS due_us
    FROM belaypin_failure
    WHERE status = 'waiting' AND payload IS NOT NULL
    GROUP BY key_id, generation
)
SELECT e.key_id, e.pipeline, e.entity, e.priority, e.failed_runs, e.failed_us, e.failed_role,
       SUBSTR(e.error, 1, 500) AS error, e.next_try_us, e.runs, e.busy_us,
       l.role, l.owner, l.token, l.ttl_us, l.expires_us, s.stream, w.items, w.due_us
FROM waiting AS w
JOIN belaypin_checkpoint AS s ON s.key_id = w.key_id AND s.generation = w.generation
JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
JOIN belaypin_lease AS l ON l.key_id = e.key_id
     AND l.token = (SELECT MAX(m.token) FROM belaypin_lease AS m WHERE m.key_id = e.key_id)
WHERE e.pipeline >= :pipeline AND e.pipeline <= :last_pipeline AND e.quarantined_us IS NULL
ORDER BY e.priority DESC, e.key_id
LIMIT :most;

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

-- name: recovery.prioritise
UPDATE belaypin_checkpoint
SET priority = :priority
WHERE key_id = :key_id;
