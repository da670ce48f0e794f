-- What must differ on PostgreSQL.

-- name: transaction.name
-- The server remembers what became of a transaction, so a COMMIT without an answer can be asked for.
SELECT pg_current_xact_id()::text;

-- name: transaction.outcome
SELECT pg_xact_status((:transaction)::xid8);

-- name: migration.lock
-- There is no table to lock before the first migration. The number is "belaypin" in ASCII.
SELECT pg_advisory_xact_lock(7090192354269751662);

-- name: migration.exists
SELECT 1
WHERE to_regclass('belaypin_migration') IS NOT NULL;

-- name: recovery.begin
-- What is open is little of what there is: look each row up. Left to itself the planner would read whole
-- tables for it, and compile the query, or start workers for it, for longer than it runs. It holds until
-- the transaction ends.
SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

-- name: failure.among
-- The ids come as a JSON list: one parameter, however many they are.
SELECT failure_id, item_id, status, attempts, next_try_us, event_us, is_hole, fingerprint,
       CASE WHEN payload IS NULL THEN 0 ELSE 1 END AS has_payload
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation
  AND item_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)));

-- name: exchange.add_coverage
-- All at once, so that the heads are kept true by one statement.
INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)
SELECT (r->>0)::bigint, (r->>1)::bigint, (r->>2)::bigint, (r->>3)::bigint
FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS r;

-- name: storage.database
SELECT pg_database_size(current_database());
