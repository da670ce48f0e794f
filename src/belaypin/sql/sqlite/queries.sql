-- What must differ on SQLite.

-- name: migration.lock
-- BEGIN IMMEDIATE has locked the file already.
SELECT 1;

-- name: migration.exists
SELECT 1
FROM sqlite_master
WHERE type = 'table' AND name = 'belaypin_migration';

-- name: recovery.begin
-- SQLite looks each row up as it is.
SELECT 1;
