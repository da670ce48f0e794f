-- Storage: how many rows of each kind there are, and the bytes of their payloads. LENGTH() of a payload is
-- known from its row's header: no payload is read.

-- name: storage.keys
-- Every key, with its state if it has one.
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(c.state)), 0) AS BIGINT), 0
FROM belaypin_checkpoint AS c
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.ledger
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.payload)), 0) AS BIGINT), CAST(COALESCE(SUM(r.raw_bytes), 0) AS BIGINT)
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS r ON r.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.coverage
-- An interval is two numbers of eight bytes.
SELECT COUNT(*), CAST(COALESCE(SUM(16), 0) AS BIGINT), 0
FROM belaypin_checkpoint AS c
JOIN belaypin_coverage AS r ON r.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.failures
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.payload)), 0) AS BIGINT), 0
FROM belaypin_checkpoint AS c
JOIN belaypin_failure AS r ON r.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.history
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.state)), 0) AS BIGINT), 0
FROM belaypin_checkpoint AS c
JOIN belaypin_history AS r ON r.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.originals
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.state)), 0) AS BIGINT), 0
FROM belaypin_checkpoint AS c
JOIN belaypin_original AS r ON r.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: storage.operations
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.result)), 0) AS BIGINT), 0
FROM belaypin_operation AS r;

-- name: storage.messages
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.payload)), 0) AS BIGINT), 0
FROM belaypin_outbox AS r;

-- name: storage.audit
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.detail)), 0) AS BIGINT), 0
FROM belaypin_audit AS r;

-- name: storage.samples
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.figures)), 0) AS BIGINT), 0
FROM belaypin_health AS r;

-- name: storage.dictionaries
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(r.payload)), 0) AS BIGINT), 0
FROM belaypin_dictionary AS r;
