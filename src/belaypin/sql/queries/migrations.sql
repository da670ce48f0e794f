-- The migration runner's own bookkeeping, and what the store is.

-- name: migration.table
CREATE TABLE IF NOT EXISTS belaypin_migration (
    version    BIGINT PRIMARY KEY,
    name       TEXT   NOT NULL,
    checksum   TEXT   NOT NULL,
    applied_us BIGINT NOT NULL
);

-- name: migration.list
SELECT version, name, checksum
FROM belaypin_migration
ORDER BY version;

-- name: migration.record
INSERT INTO belaypin_migration (version, name, checksum, applied_us)
VALUES (:version, :name, :checksum, {now_us});

-- name: meta.insert
INSERT INTO belaypin_meta (name, value)
VALUES (:name, :value)
ON CONFLICT (name) DO NOTHING;

-- name: meta.read
SELECT value
FROM belaypin_meta
WHERE name = :name;
