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

-- name: recovery.begin
-- SQLite looks each row up as it is.
SELECT 1;

-- name: failure.among
-- The ids come as a JSON list: one parameter, however many they are.
SELECT failure_id, item_id, status, attempts, next_try_us, event_us, is_hole, fingerprint,
       CASE WHEN payload IS NULL THEN 0 ELSE 1 END AS has_payload
FROM belaypin_failure
WHERE key_id = :key_id AND generation = :generation AND item_id IN (SELECT value FROM json_each(:ids));

-- name: exchange.add_coverage
-- All at once, so that the heads are kept true by one statement.
INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]')
FROM json_each(:rows);

-- name: storage.database
SELECT c.page_count * s.page_size
FROM pragma_page_count AS c, pragma_page_size AS s;
