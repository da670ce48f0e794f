-- Runs: what recovery must know of an entity, noted on its own row when a lease is taken or ends.

-- name: run.begun
-- An attempt is idle if nothing was committed anywhere in the entity since the one before: then the
-- sum of its versions is the same. It needs no clock, and holds whatever a crash left out.
UPDATE belaypin_checkpoint
SET attempts = attempts + 1,
    idle_attempts = CASE WHEN idle_mark = now.mark THEN idle_attempts + 1 ELSE 1 END,
    idle_mark = now.mark
FROM (SELECT CAST(COALESCE(SUM(commits + version), 0) AS BIGINT) AS mark
      FROM belaypin_checkpoint
      WHERE pipeline = :pipeline AND entity = :entity) AS now
WHERE key_id = :key_id;

-- name: run.ended
UPDATE belaypin_checkpoint
SET idle_attempts = 0, runs = runs + 1,
    busy_us = busy_us + CASE WHEN {now_us} > :acquired_us THEN {now_us} - :acquired_us ELSE 0 END
WHERE key_id = :key_id
RETURNING failed_role;

-- name: run.clear
-- Its trouble is over: it has ended well, or a person says so.
UPDATE belaypin_checkpoint
SET idle_attempts = 0, failed_runs = 0, failed_us = NULL, failed_role = NULL, error = NULL, traceback = NULL,
    next_try_us = NULL, quarantined_us = NULL, quarantine_reason = NULL
WHERE key_id = :key_id;

-- name: run.interrupted
-- A worker that was told to stop is no failure, and has not died either.
UPDATE belaypin_checkpoint
SET idle_attempts = 0
WHERE key_id = :key_id;

-- name: run.progress
-- How often this entity has failed in a row, and whether anything was committed since the lease was taken.
SELECT e.failed_runs,
       CASE WHEN e.idle_mark = (SELECT CAST(COALESCE(SUM(c.commits + c.version), 0) AS BIGINT)
                                FROM belaypin_checkpoint AS c
                                WHERE c.pipeline = e.pipeline AND c.entity = e.entity)
            THEN 0 ELSE 1 END AS has_progressed
FROM belaypin_checkpoint AS e
WHERE e.key_id = :key_id;

-- name: run.failed
UPDATE belaypin_checkpoint
SET idle_attempts = 0, failed_runs = :failed_runs, failed_us = {now_us}, failed_role = :role, error = :error,
    traceback = :traceback, next_try_us = {now_us} + :delay_us
WHERE key_id = :key_id;
