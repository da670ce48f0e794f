-- The manifest of file sinks.

-- name: file.add
INSERT INTO belaypin_file (sink, name, part, state, key_id, generation, row_count, bytes, sha256, created_us)
VALUES (:sink, :name, :part, 'ready', :key_id, :generation, :row_count, :bytes, :digest, {now_us});

-- name: file.final
-- Whoever says so has seen the file under its name, and has made that name durable.
UPDATE belaypin_file
SET state = 'final'
WHERE sink = :sink AND name = :name AND state = 'ready';

-- name: file.ready
SELECT name, part
FROM belaypin_file
WHERE sink = :sink AND state = 'ready'
ORDER BY name;

-- name: file.list
SELECT f.name, f.part, f.state, f.generation, f.row_count, f.bytes, f.sha256, f.created_us,
       c.pipeline, c.entity, c.stream
FROM belaypin_file AS f
LEFT JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id
WHERE f.sink = :sink AND f.name > :after
ORDER BY f.name
LIMIT :limit;

-- name: file.writer
-- Who may still commit under this token; no row: nobody ever will, as tokens only grow, and whoever
-- ended the lease had to wait for the last commit under it.
SELECT role, owner
FROM belaypin_lease
WHERE key_id = :key_id AND token = :token AND expires_us <> 0;

-- name: file.await_writer
-- The same, once the commit that the writer may have under way has ended.
SELECT role, owner
FROM belaypin_lease
WHERE key_id = :key_id AND token = :token AND expires_us <> 0
{for_update};
