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
