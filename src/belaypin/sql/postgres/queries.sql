-- What must differ on PostgreSQL.

-- name: migration.lock
-- There is no table to lock before the first migration. The number is "belaypin" in ASCII.
SELECT pg_advisory_xact_lock(7090192354269751662);

-- name: migration.exists
SELECT 1
WHERE to_regclass('belaypin_migration') IS NOT NULL;
