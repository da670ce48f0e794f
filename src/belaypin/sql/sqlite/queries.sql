-- What must differ on SQLite.

-- name: transaction.name
-- A transaction has no name here: it ends in this process, which learns how.
SELECT NULL;

-- name: transaction.outcome
SELECT NULL;

-- name: migration.lock
-- BEGIN IMMEDIATE has locked the file already.
SELECT 1;

-- name: migration.exists
SELECT 1
FROM sqlite_master
WHERE type = 'table' AND name = 'belaypin_migration';
