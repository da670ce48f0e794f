-- The outbox: messages that were enqueued beside the rows that they tell of, and who delivers them.

-- name: outbox.send
-- The first message under a key counts. Otherwise no row comes back.
INSERT INTO belaypin_outbox (topic, message_key, payload, status, next_try_us, created_us)
SELECT :topic, :message_key, :payload, 'waiting', c.now_us, c.now_us
FROM (SELECT {now_us} AS now_us) AS c
WHERE 1 = 1
ON CONFLICT (topic, message_key) DO NOTHING
RETURNING message_id;

-- name: outbox.claim
-- The first message behind another that is due and that nobody has claimed; workers who ask at the
-- same moment get one each. A clock that was set back blocks no message.
UPDATE belaypin_outbox
SET owner = :owner, token = token + 1, attempts = attempts + 1, ttl_us = :ttl_us,
    expires_us = {now_us} + :ttl_us
WHERE message_id = (
    SELECT message_id
    FROM belaypin_outbox
    WHERE topic = :topic AND message_id > :after AND status <> 'delivered' AND status = 'waiting'
      AND next_try_us <= {now_us}
      AND (expires_us <= {now_us} OR expires_us > {now_us} + 2 * ttl_us)
    ORDER BY message_id
    LIMIT 1
    {for_update} {skip_locked})
RETURNING message_id, message_key, payload, attempts, token, created_us;

-- name: outbox.renew
UPDATE belaypin_outbox
SET expires_us = {now_us} + ttl_us
WHERE message_id = :message_id AND owner = :owner AND token = :token AND status = 'waiting' AND expires_us > 0
RETURNING expires_us;

-- name: outbox.delivered
UPDATE belaypin_outbox
SET status = 'delivered', delivered_us = {now_us}, expires_us = 0, error = NULL
WHERE message_id = :message_id AND owner = :owner AND token = :token AND status = 'waiting'
RETURNING message_id;

-- name: outbox.failed
UPDATE belaypin_outbox
SET status = :status, error = :error, next_try_us = {now_us} + :delay_us, expires_us = 0
WHERE message_id = :message_id AND owner = :owner AND token = :token AND status = 'waiting'
RETURNING message_id;

-- name: outbox.give_back
-- As if it had never been claimed.
UPDATE belaypin_outbox
SET attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END, expires_us = 0
WHERE message_id = :message_id AND owner = :owner AND token = :token AND status = 'waiting'
RETURNING message_id;

-- name: outbox.undelivered
SELECT message_id, topic, message_key, payload, attempts, status, error, created_us, next_try_us
FROM belaypin_outbox
WHERE status <> 'delivered' AND message_id > :after AND (:status = '' OR status = :status)
ORDER BY message_id
LIMIT :limit;

-- name: outbox.undelivered_of
SELECT message_id, topic, message_key, payload, attempts, status, error, created_us, next_try_us
FROM belaypin_outbox
WHERE status <> 'delivered' AND topic = :topic AND message_id > :after AND (:status = '' OR status = :status)
ORDER BY message_id
LIMIT :limit;

-- name: outbox.page
-- What verify reads, whatever has become of it.
SELECT message_id, topic, message_key, payload, attempts, status, delivered_us
FROM belaypin_outbox
WHERE message_id > :after
ORDER BY message_id
LIMIT :limit;

-- name: outbox.redeliver
-- Who handles it now, if anybody does, keeps his claim.
UPDATE belaypin_outbox
SET status = 'waiting', attempts = 0, next_try_us = {now_us}
WHERE topic = :topic AND message_key = :message_key AND status <> 'delivered'
RETURNING message_id;

-- name: outbox.drop
-- Locked in one order, so that two who do this at once can't deadlock.
DELETE FROM belaypin_outbox
WHERE message_id IN (
    SELECT message_id
    FROM belaypin_outbox
    WHERE delivered_us IS NOT NULL AND delivered_us < {now_us} - :age_us
    ORDER BY delivered_us, message_id
    LIMIT :limit
    {for_update})
RETURNING message_id;
