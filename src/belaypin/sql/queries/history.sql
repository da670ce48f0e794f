-- History: the states that others replaced, the newest of each Key.

-- name: history.keep
-- Before the state is replaced, in the same transaction. It holds the row, as the writer will do next.
INSERT INTO belaypin_history
    (key_id, version, schema_version, is_damaged, state, content_hash, saved_us, kept_us, token, reason)
SELECT key_id, version, schema_version, :is_damaged, state, content_hash, updated_us, {now_us}, :token, :reason
FROM belaypin_checkpoint
WHERE key_id = :key_id AND version = :version AND state IS NOT NULL
{for_update}
ON CONFLICT (key_id, version, schema_version, is_damaged) DO NOTHING;

-- name: history.prune
-- All but the newest, and those that a savepoint needs.
DELETE FROM belaypin_history
WHERE key_id = :key_id
  AND version < (SELECT h.version FROM belaypin_history AS h
                 WHERE h.key_id = :key_id ORDER BY h.version DESC LIMIT 1 OFFSET :beyond)
  AND NOT EXISTS (SELECT 1 FROM belaypin_savepoint_key AS s
                  WHERE s.key_id = belaypin_history.key_id AND s.version = belaypin_history.version
                    AND s.schema_version = belaypin_history.schema_version);

-- name: history.list
-- Newest first; the present state is one of them. What was upcast has two rows of one version.
SELECT version, schema_version, is_damaged, is_current, state, content_hash, saved_us, token, reason
FROM (
    SELECT c.version, c.schema_version, 0 AS is_damaged, 1 AS is_current, c.state, c.content_hash,
           c.updated_us AS saved_us, NULL AS token, 'current' AS reason
    FROM belaypin_checkpoint AS c
    WHERE c.key_id = :key_id AND c.state IS NOT NULL
    UNION ALL
    SELECT h.version, h.schema_version, h.is_damaged, 0, h.state, h.content_hash, h.saved_us, h.token, h.reason
    FROM belaypin_history AS h
    WHERE h.key_id = :key_id
      AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c
                      WHERE c.key_id = h.key_id AND c.version = h.version AND h.is_damaged = 0
                        AND c.schema_version = h.schema_version AND c.state = h.state)
) AS kept
WHERE version < :before
ORDER BY version DESC, is_damaged, schema_version DESC
LIMIT :count;

-- name: history.read
-- The version as it was last, if it was upcast; whatever was set aside as damaged comes last.
SELECT version, schema_version, is_damaged, is_current, state, content_hash, saved_us, token, reason
FROM (
    SELECT c.version, c.schema_version, 0 AS is_damaged, 1 AS is_current, c.state, c.content_hash,
           c.updated_us AS saved_us, NULL AS token, 'current' AS reason
    FROM belaypin_checkpoint AS c
    WHERE c.key_id = :key_id AND c.version = :version AND c.state IS NOT NULL
    UNION ALL
    SELECT h.version, h.schema_version, h.is_damaged, 0, h.state, h.content_hash, h.saved_us, h.token, h.reason
    FROM belaypin_history AS h
    WHERE h.key_id = :key_id AND h.version = :version
) AS kept
ORDER BY is_damaged, schema_version DESC, is_current DESC
LIMIT 1;

-- name: history.restore
-- An older state becomes a new version: history itself is never rewritten.
UPDATE belaypin_checkpoint
SET state = (SELECT h.state FROM belaypin_history AS h
             WHERE h.key_id = :key_id AND h.version = :from_version
               AND h.schema_version = :schema_version AND h.is_damaged = 0),
    schema_version = :schema_version, version = version + 1,
    updated_us = {now_us}
WHERE key_id = :key_id
RETURNING version;
