-- Suspects: what a worker that follows a dead one has in hand, durable before it is handed out.

-- name: suspect.read
SELECT deaths, kills
FROM belaypin_suspect
WHERE key_id = :key_id AND role = :role;

-- name: suspect.save
INSERT INTO belaypin_suspect (key_id, role, deaths, kills)
VALUES (:key_id, :role, :deaths, :kills)
ON CONFLICT (key_id, role) DO UPDATE SET deaths = excluded.deaths, kills = excluded.kills;

-- name: suspect.delete
DELETE FROM belaypin_suspect
WHERE key_id = :key_id AND role = :role;

-- name: suspect.clear
-- Of all streams of an entity: their worker has left in order, so what it had in hand did not kill it.
DELETE FROM belaypin_suspect
WHERE role = :role
  AND key_id IN (SELECT key_id FROM belaypin_checkpoint WHERE pipeline = :pipeline AND entity = :entity);
