-- Leases: the exclusive right to advance a Key, in one role, for a time by the database's clock.

-- name: lease.find
-- No statement of this transaction waits for a locked row for longer than wait_ms.
SELECT key_id, {wait_limit} AS wait_limit
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: lease.acquire
-- One statement decides: a new row, or the takeover of one that is released, expired, or whose owner
-- is known to be dead. A lease that expires more than two lifetimes from now was written before the
-- clock was set back: it counts as expired, or it would block for as long as the clock jumped.
-- The token grows with the clock too, so that it still grows after the store is restored from a backup.
-- :only_after is the token that a plan has seen, or 0: whoever took the lease since has done the step.
INSERT INTO belaypin_lease (key_id, role, owner, token, ttl_us, acquired_us, renewed_us, expires_us)
SELECT k.key_id, :role, :owner, c.now_us, :ttl_us, c.now_us, c.now_us, c.now_us + :ttl_us
FROM belaypin_checkpoint AS k, (SELECT {now_us} AS now_us) AS c
WHERE k.key_id = :key_id
ON CONFLICT (key_id, role) DO UPDATE SET
    owner = excluded.owner,
    token = CASE WHEN excluded.token > belaypin_lease.token
                 THEN excluded.token ELSE belaypin_lease.token + 1 END,
    ttl_us = excluded.ttl_us,
    acquired_us = excluded.acquired_us,
    renewed_us = excluded.renewed_us,
    expires_us = excluded.expires_us,
    deaths = CASE WHEN belaypin_lease.expires_us = 0 THEN 0 ELSE belaypin_lease.deaths + 1 END
WHERE (belaypin_lease.expires_us <= excluded.acquired_us
       OR belaypin_lease.expires_us > excluded.acquired_us + 2 * belaypin_lease.ttl_us
       OR belaypin_lease.owner = :dead_owner)
  AND (CAST(:only_after AS BIGINT) = 0 OR belaypin_lease.token = :only_after)
RETURNING token, deaths;

-- name: lease.read
SELECT owner, token, expires_us, {now_us} AS now_us
FROM belaypin_lease
WHERE key_id = :key_id AND role = :role;

-- name: lease.renew
-- Renewing is a write, so it is fenced like any other.
UPDATE belaypin_lease
SET renewed_us = {now_us}, expires_us = {now_us} + ttl_us
WHERE key_id = :key_id AND role = :role AND owner = :owner AND token = :token AND expires_us <> 0
RETURNING expires_us;

-- name: lease.release
-- The row stays, for its token; the state is not touched.
UPDATE belaypin_lease
SET expires_us = 0
WHERE key_id = :key_id AND role = :role AND owner = :owner AND token = :token AND expires_us <> 0
RETURNING acquired_us;

-- name: lease.abandon
-- Taken perhaps, by somebody who was interrupted before he knew: the owner's name is his alone.
UPDATE belaypin_lease
SET expires_us = 0
WHERE key_id = :key_id AND role = :role AND owner = :owner AND expires_us <> 0
RETURNING token;

-- name: lease.lock
-- The first statement of every fenced write. It holds the lease row until the transaction ends, so
-- that nobody can take the lease over in between; no row means: fenced.
SELECT token, {idle_limit} AS idle_limit
FROM belaypin_lease
WHERE key_id = :key_id AND role = :role AND owner = :owner AND token = :token AND expires_us <> 0
{for_update};

-- name: lease.fence
-- Takes a dead holder's lease over, for nobody: should he come back, he can't write. It stays expired,
-- not released: that is how a plan knows that its work was never ended.
UPDATE belaypin_lease
SET owner = 'nobody', token = CASE WHEN {now_us} > token THEN {now_us} ELSE token + 1 END,
    renewed_us = {now_us} - ttl_us, expires_us = CASE WHEN expires_us = 0 THEN 0 ELSE {now_us} END
WHERE key_id = :key_id AND role = :role AND token = :token
  AND (expires_us <= {now_us} OR expires_us > {now_us} + 2 * ttl_us OR owner = :dead_owner)
RETURNING token;

-- name: lease.hold
-- Who holds it, with its row held until the transaction ends.
SELECT owner, token, expires_us, {now_us} AS now_us
FROM belaypin_lease
WHERE key_id = :key_id AND role = :role
{for_update};

-- name: lease.break
-- A person takes it from whoever has it, for nobody. It stays expired, as after lease.fence: a plan
-- knows that its work was never ended.
UPDATE belaypin_lease
SET owner = 'nobody', token = CASE WHEN {now_us} > token THEN {now_us} ELSE token + 1 END,
    renewed_us = {now_us} - ttl_us, expires_us = {now_us}
WHERE key_id = :key_id AND role = :role AND expires_us <> 0
RETURNING token;
