-- Listings: a page of rows, found in the order of an index; then what is known of each of them.

-- name: listing.pipelines
-- The next name only: a pipeline of a million entities is stepped over.
SELECT MIN(pipeline)
FROM belaypin_checkpoint
WHERE pipeline > :after;

-- name: listing.entities_by_key
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) > (:at_pipeline, :at_entity, :at_stream)
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND entity <> '' AND stream = ''
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_by_key
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) > (:at_pipeline, :at_entity, :at_stream)
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND stream <> ''
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.entities_by_lag
WITH heads AS (
    SELECT e.key_id, MIN(v.end_us) AS place
    FROM belaypin_checkpoint AS s
    JOIN belaypin_coverage AS v ON v.key_id = s.key_id AND v.generation = s.generation
    JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
    WHERE (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
      AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
      AND s.stream <> '' AND s.completed_us IS NULL
    GROUP BY e.key_id
)
SELECT key_id, place
FROM heads
WHERE (place, key_id) > (:at_place, :at_key_id)
ORDER BY place, key_id
LIMIT :scan;

-- name: listing.streams_by_lag
WITH heads AS (
    SELECT s.key_id, MIN(v.end_us) AS place
    FROM belaypin_checkpoint AS s
    JOIN belaypin_coverage AS v ON v.key_id = s.key_id AND v.generation = s.generation
    WHERE (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
      AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
      AND s.stream <> '' AND s.completed_us IS NULL
    GROUP BY s.key_id
)
SELECT key_id, place
FROM heads
WHERE (place, key_id) > (:at_place, :at_key_id)
ORDER BY place, key_id
LIMIT :scan;

-- name: listing.entities_by_update
WITH updates AS (
    SELECT e.key_id, -MAX(s.updated_us) AS place
    FROM belaypin_checkpoint AS s
    JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
    WHERE (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
      AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
      AND e.entity <> ''
    GROUP BY e.key_id
)
SELECT key_id, place
FROM updates
WHERE (place, key_id) > (:at_place, :at_key_id)
ORDER BY place, key_id
LIMIT :scan;

-- name: listing.streams_by_update
SELECT key_id, -updated_us AS place
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND stream <> '' AND (-updated_us, key_id) > (:at_place, :at_key_id)
ORDER BY -updated_us, key_id
LIMIT :scan;

-- name: listing.entities
-- What is known of these entities, each with its streams rolled up.
WITH wanted AS (
    SELECT key_id, pipeline, entity
    FROM belaypin_checkpoint
    WHERE key_id IN {ids}
), heads AS (
    SELECT w.key_id, s.stream, s.completed_us, MIN(v.end_us) AS head_us, COUNT(*) - 1 AS gaps
    FROM wanted AS w
    JOIN belaypin_checkpoint AS s ON s.pipeline = w.pipeline AND s.entity = w.entity AND s.stream <> ''
    JOIN belaypin_coverage AS v ON v.key_id = s.key_id AND v.generation = s.generation
    GROUP BY w.key_id, s.stream, s.completed_us
), rolled AS (
    SELECT w.key_id, CAST(SUM(s.items) AS BIGINT) AS items, CAST(SUM(s.skipped) AS BIGINT) AS skipped,
           CAST(SUM(s.changed) AS BIGINT) AS changed, CAST(SUM(s.late) AS BIGINT) AS late,
           CAST(SUM(s.failures) AS BIGINT) AS failures, MAX(s.updated_us) AS updated_us,
           COUNT(CASE WHEN s.stream <> '' THEN 1 END) AS streams,
           COUNT(CASE WHEN s.stream <> '' THEN s.completed_us END) AS complete,
           COUNT(CASE WHEN s.is_open = 1 AND s.completed_us IS NULL THEN 1 END) AS begun
    FROM wanted AS w
    JOIN belaypin_checkpoint AS s ON s.pipeline = w.pipeline AND s.entity = w.entity
    GROUP BY w.key_id
)
SELECT e.key_id, e.pipeline, e.entity, e.attempts, e.error, e.priority, e.quarantined_us, e.failed_us, e.next_try_us,
       e.completed_us, r.items, r.skipped, r.changed, r.late, r.failures, r.updated_us, r.streams, r.complete,
       r.begun, {now_us} AS now_us,
       CAST(COALESCE((SELECT SUM(h.gaps) FROM heads AS h WHERE h.key_id = e.key_id), 0) AS BIGINT) AS gaps,
       (SELECT MIN(h.head_us) FROM heads AS h WHERE h.key_id = e.key_id AND h.completed_us IS NULL) AS head_us,
       (SELECT h.stream FROM heads AS h WHERE h.key_id = e.key_id AND h.completed_us IS NULL
        ORDER BY h.head_us, h.stream LIMIT 1) AS lag_stream
FROM rolled AS r
JOIN belaypin_checkpoint AS e ON e.key_id = r.key_id;

-- name: listing.streams
-- What is known of these streams, each with what its entity's row says.
SELECT c.key_id, c.pipeline, c.entity, c.stream, e.key_id AS entity_id, c.items, c.skipped, c.changed, c.late,
       c.too_late, c.stale, c.failures, c.is_open, c.completed_us, c.processor, c.updated_us, c.version,
       e.error, e.priority, e.quarantined_us, e.failed_us, e.next_try_us, {now_us} AS now_us,
       (SELECT COUNT(*) FROM belaypin_coverage AS v
        WHERE v.key_id = c.key_id AND v.generation = c.generation) AS intervals,
       (SELECT MIN(v.end_us) FROM belaypin_coverage AS v
        WHERE v.key_id = c.key_id AND v.generation = c.generation) AS head_us,
       (SELECT MIN(v.start_us) FROM belaypin_coverage AS v
        WHERE v.key_id = c.key_id AND v.generation = c.generation) AS covered_us
FROM belaypin_checkpoint AS c
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = c.pipeline AND e.entity = c.entity AND e.stream = ''
WHERE c.key_id IN {ids};

-- name: listing.quarantined
-- Items in quarantine, of those keys that have any put aside.
SELECT f.key_id, COUNT(*)
FROM belaypin_failure AS f
JOIN belaypin_checkpoint AS c ON c.key_id = f.key_id AND c.generation = f.generation
WHERE f.key_id IN {ids} AND f.status = 'quarantined'
GROUP BY f.key_id;

-- name: listing.quarantined_beneath
-- The same for entities: of all their streams.
SELECT e.key_id, COUNT(*)
FROM belaypin_checkpoint AS e
JOIN belaypin_checkpoint AS s ON s.pipeline = e.pipeline AND s.entity = e.entity AND s.failures > 0
JOIN belaypin_failure AS f ON f.key_id = s.key_id AND f.generation = s.generation AND f.status = 'quarantined'
WHERE e.key_id IN {ids}
GROUP BY e.key_id;

-- name: listing.held
-- The leases of these entities that nobody has released.
SELECT l.key_id, l.role, l.owner, l.ttl_us, l.expires_us
FROM belaypin_lease AS l
WHERE l.key_id IN {ids} AND l.expires_us <> 0
ORDER BY l.key_id, l.role;

-- name: listing.leases
SELECT l.key_id, c.pipeline, c.entity, c.stream, l.role, l.owner, l.token, l.ttl_us, l.acquired_us, l.renewed_us,
       l.expires_us, l.deaths, {now_us} AS now_us
FROM belaypin_lease AS l
JOIN belaypin_checkpoint AS c ON c.key_id = l.key_id
WHERE (c.pipeline, c.entity, l.role) > (:at_pipeline, :at_entity, :at_role)
  AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
  AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND (:with_released = 1 OR l.expires_us <> 0)
ORDER BY c.pipeline, c.entity, l.role
LIMIT :scan;

-- name: listing.segments
-- A few segments of a stream, oldest first.
SELECT s.seq, s.created_us, s.payload
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS s ON s.key_id = c.key_id AND s.generation = c.generation
WHERE c.pipeline = :pipeline AND c.entity = :entity AND c.stream = :stream AND s.seq >= :seq
ORDER BY s.seq
LIMIT :scan;

-- name: listing.operations
SELECT operation_id, status, attempts, owner, error, expires_us, created_us, updated_us, completed_us, {now_us} AS now_us
FROM belaypin_operation
WHERE operation_id > :after AND (:status = '' OR status = :status)
ORDER BY operation_id
LIMIT :scan;

-- name: listing.gaps
-- The holes of one stream behind a time, oldest first.
SELECT start_us, end_us
FROM (
    SELECT v.end_us AS start_us, LEAD(v.start_us) OVER (ORDER BY v.start_us) AS end_us
    FROM belaypin_checkpoint AS c
    JOIN belaypin_coverage AS v ON v.key_id = c.key_id AND v.generation = c.generation
    WHERE c.pipeline = :pipeline AND c.entity = :entity AND c.stream = :stream AND v.end_us >= :after_us
) AS holes
WHERE end_us IS NOT NULL AND start_us > :after_us
ORDER BY start_us
LIMIT :scan;
