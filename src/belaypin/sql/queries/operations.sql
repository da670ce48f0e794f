-- Operations: idempotent calls under a stable id, with a lease and a token each.

-- name: operation.find
-- No statement of this transaction waits for a locked row for longer than wait_ms.
SELECT {wait_limit} AS wait_limit,
       (SELECT status FROM belaypin_operation WHERE operation_id = :operation_id) AS status;

-- name: operation.claim
-- A new id, a failed attempt, or one whose worker's time ran out: ours. Otherwise no row comes back.
INSERT INTO belaypin_operation
    (operation_id, request, status, owner, token, attempts, ttl_us, expires_us, created_us, updated_us)
SELECT :operation_id, :request, 'running', :owner, 1, 1, :ttl_us, c.now_us + :ttl_us, c.now_us, c.now_us
FROM (SELECT {now_us} AS now_us) AS c
WHERE 1 = 1
ON CONFLICT (operation_id) DO UPDATE SET
    status = 'running', owner = excluded.owner, token = belaypin_operation.token + 1,
    attempts = belaypin_operation.attempts + 1, ttl_us = excluded.ttl_us,
    expires_us = excluded.expires_us, updated_us = excluded.updated_us
WHERE (belaypin_operation.request = excluded.request
       OR (belaypin_operation.request IS NULL AND excluded.request IS NULL))
  AND (belaypin_operation.status = 'failed'
       OR (belaypin_operation.status = 'running'
           AND (belaypin_operation.expires_us <= excluded.updated_us
                OR belaypin_operation.expires_us > excluded.updated_us + 2 * belaypin_operation.ttl_us
                OR belaypin_operation.owner = :dead_owner)))
RETURNING token, attempts;

-- name: operation.read
-- A result whose time is over counts as gone, whether it was dropped yet or not.
SELECT status, request, owner, token, attempts, expires_us,
       CASE WHEN result_expires_us IS NULL OR result_expires_us > {now_us} THEN result END AS result,
       error, result_expires_us, created_us, updated_us, completed_us
FROM belaypin_operation
WHERE operation_id = :operation_id;

-- name: operation.standing
-- Whose it is, once every transaction that was changing it has ended.
SELECT status, owner, token
FROM belaypin_operation
WHERE operation_id = :operation_id
{for_update};

-- name: operation.abandon
-- Claimed perhaps, by somebody who was interrupted before he knew: the owner's name is his alone.
UPDATE belaypin_operation
SET status = 'failed', error = :error, updated_us = {now_us}
WHERE operation_id = :operation_id AND owner = :owner AND status = 'running'
RETURNING token;

-- name: operation.lock
SELECT token
FROM belaypin_operation
WHERE operation_id = :operation_id AND owner = :owner AND token = :token AND status = 'running'
{for_update};

-- name: operation.renew
UPDATE belaypin_operation
SET expires_us = {now_us} + ttl_us
WHERE operation_id = :operation_id AND owner = :owner AND token = :token AND status = 'running'
RETURNING expires_us;

-- name: operation.complete
UPDATE belaypin_operation
SET status = 'done', result = :result, error = NULL, completed_us = {now_us}, updated_us = {now_us},
    result_expires_us = {now_us} + CAST(:result_ttl_us AS BIGINT)
WHERE operation_id = :operation_id AND owner = :owner AND token = :token AND status = 'running'
RETURNING token;

-- name: operation.fail
UPDATE belaypin_operation
SET status = 'failed', error = :error, updated_us = {now_us}
WHERE operation_id = :operation_id AND owner = :owner AND token = :token AND status = 'running'
RETURNING token;

-- name: operation.lapse
UPDATE belaypin_operation
SET status = 'failed', error = :error, updated_us = {now_us}
WHERE operation_id = :operation_id AND token = :token AND status = 'running'
  AND (expires_us <= {now_us} OR expires_us > {now_us} + 2 * ttl_us OR owner = :dead_owner)
RETURNING owner;

-- name: operation.drop_results
-- Locked in one order, so that two who do this at once can't deadlock.
UPDATE belaypin_operation
SET result = NULL
WHERE result IS NOT NULL
  AND operation_id IN (
    SELECT operation_id
    FROM belaypin_operation
    WHERE result_expires_us IS NOT NULL AND result IS NOT NULL AND result_expires_us <= {now_us}
    ORDER BY result_expires_us, operation_id
    LIMIT :limit
    {for_update})
RETURNING operation_id;

-- name: attempt.begin
INSERT INTO belaypin_attempt (operation_id, attempt, owner, started_us)
SELECT operation_id, attempts, owner, updated_us
FROM belaypin_operation
WHERE operation_id = :operation_id AND owner = :owner;

-- name: attempt.lost
-- Whoever ran it before never told how it ended.
UPDATE belaypin_attempt
SET ended_us = {now_us}, outcome = 'lost', error = :error
WHERE operation_id = :operation_id AND attempt < :attempt AND ended_us IS NULL;

-- name: attempt.forget
DELETE FROM belaypin_attempt
WHERE operation_id = :operation_id AND attempt <= :last_attempt;

-- name: attempt.end
UPDATE belaypin_attempt
SET ended_us = {now_us}, outcome = :outcome, error = :error, traceback = :traceback
WHERE operation_id = :operation_id AND owner = :owner AND ended_us IS NULL;

-- name: attempt.orphans
-- They are made in the transaction that makes their operation, or later.
SELECT operation_id, COUNT(*) AS attempts
FROM belaypin_attempt AS a
WHERE operation_id > :after
  AND NOT EXISTS (SELECT 1 FROM belaypin_operation AS o WHERE o.operation_id = a.operation_id)
GROUP BY operation_id
ORDER BY operation_id
LIMIT :limit;

-- name: attempt.list
SELECT attempt, owner, started_us, ended_us, outcome, error, traceback
FROM belaypin_attempt
WHERE operation_id = :operation_id
ORDER BY attempt;
