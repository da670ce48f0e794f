-- What must differ on PostgreSQL.

-- name: migration.lock
-- There is no table to lock before the first migration. The number is "belaypin" in ASCII.
SELECT pg_advisory_xact_lock(7090192354269751662);

-- name: migration.exists
SELECT 1
WHERE to_regclass('belaypin_migration') IS NOT NULL;

-- name: recovery.begin
-- What is open is little of what there is: look each row up. Left to itself the planner would read whole
-- tables for it, and compile the query for longer than it runs. It holds until the transaction ends.
SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);
