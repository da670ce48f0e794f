-- Health: figures of the keys in a range, each from rows found through an index. LENGTH() of a payload
-- is known from its row's header: no payload is read.

-- name: health.keys
SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN stream <> '' THEN 1 ELSE 0 END), 0) AS BIGINT),
       CAST(COALESCE(SUM(items), 0) AS BIGINT), CAST(COALESCE(SUM(skipped), 0) AS BIGINT),
       CAST(COALESCE(SUM(changed), 0) AS BIGINT), CAST(COALESCE(SUM(late), 0) AS BIGINT),
       CAST(COALESCE(SUM(too_late), 0) AS BIGINT),
       CAST(COALESCE(SUM(LENGTH(state)), 0) AS BIGINT),
       CAST(COALESCE(SUM(failures), 0) AS BIGINT), COUNT(failed_us), COUNT(quarantined_us),
       CAST(COALESCE(SUM(CASE WHEN intervals > 1 THEN intervals - 1 ELSE 0 END), 0) AS BIGINT)
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream);

-- name: health.heads
-- Complete streams have no lag. The sums keep both databases from going by the order of heads.
SELECT head_us
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND head_us + 0 IS NOT NULL AND completed_us + 0 IS NULL;

-- name: health.ledger
SELECT COUNT(*), CAST(COALESCE(SUM(s.raw_bytes), 0) AS BIGINT),
       CAST(COALESCE(SUM(LENGTH(s.payload)), 0) AS BIGINT)
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS s ON s.key_id = c.key_id
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream);

-- name: health.leases
-- Held leases, and for how long at most the work that they stand for would be set back if all
-- holders died now: from the last durable write of the entity until the lease can be taken over.
WITH held AS (
    SELECT c.pipeline, c.entity, l.acquired_us, l.expires_us
    FROM belaypin_lease AS l
    CROSS JOIN belaypin_checkpoint AS c
    WHERE l.expires_us <> 0 AND l.expires_us > {now_us} AND c.key_id = l.key_id
      AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
      AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
), lasting AS (
    SELECT h.acquired_us, h.expires_us,
           (SELECT MAX(s.updated_us) FROM belaypin_checkpoint AS s
            WHERE s.pipeline = h.pipeline AND s.entity = h.entity) AS written_us
    FROM held AS h
)
SELECT COUNT(*),
       COALESCE(MAX(expires_us - CASE WHEN written_us > acquired_us THEN written_us ELSE acquired_us END), 0)
FROM lasting;

-- name: health.quarantined
-- Items that wait for a person; only rows with failures are looked at further.
SELECT COUNT(*)
FROM belaypin_checkpoint AS c
JOIN belaypin_failure AS f ON f.key_id = c.key_id AND f.generation = c.generation
WHERE c.pipeline = :pipeline AND (c.entity, c.stream) >= (:entity, :stream)
  AND (c.entity, c.stream) <= (:last_entity, :last_stream)
  AND c.failures > 0 AND f.status = 'quarantined';

-- name: health.windows
-- Streams with an open window, and those of them whose entity nobody holds a lease on.
SELECT COUNT(*),
       CAST(COALESCE(SUM(CASE WHEN EXISTS (
           SELECT 1
           FROM belaypin_checkpoint AS e
           JOIN belaypin_lease AS l ON l.key_id = e.key_id
           WHERE e.pipeline = c.pipeline AND e.entity = c.entity AND e.stream = ''
             AND l.expires_us > {now_us}) THEN 0 ELSE 1 END), 0) AS BIGINT)
FROM belaypin_checkpoint AS c
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND is_open = 1;

-- name: health.operations
-- As leases: a running attempt is set back from its start until it can be taken over.
SELECT CAST(COALESCE(SUM(CASE WHEN status = 'running' AND expires_us > {now_us} THEN 1 ELSE 0 END), 0) AS BIGINT),
       CAST(COALESCE(SUM(CASE WHEN status = 'running' AND expires_us <= {now_us} THEN 1 ELSE 0 END), 0) AS BIGINT),
       CAST(COALESCE(SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END), 0) AS BIGINT),
       COALESCE(MAX(CASE WHEN status = 'running' AND expires_us > {now_us} THEN expires_us - updated_us END), 0),
       CAST(COALESCE(SUM(LENGTH(result)), 0) AS BIGINT)
FROM belaypin_operation;

-- name: explain.holding
-- The segments in whose range an id lies, newest first, also of generations before this one.
SELECT seq, generation, level, items, token, created_us
FROM belaypin_segment
WHERE key_id = :key_id AND low <= :id_key AND high >= :id_key
ORDER BY seq DESC;
