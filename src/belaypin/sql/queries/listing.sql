-- Listings: a page of rows, found in the order of an index; then what is known of each of them.

-- name: listing.pipelines
-- From each name to the next: a pipeline of a million entities is stepped over.
WITH RECURSIVE names AS (
    SELECT MIN(pipeline) AS pipeline
    FROM belaypin_checkpoint
    UNION ALL
    SELECT (SELECT MIN(c.pipeline) FROM belaypin_checkpoint AS c WHERE c.pipeline > n.pipeline)
    FROM names AS n
    WHERE n.pipeline IS NOT NULL
)
SELECT pipeline
FROM names
WHERE pipeline IS NOT NULL;

-- name: listing.entities_by_key
-- A range within one pipeline: see parts.sql.
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND entity <> '' AND stream = ''
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_by_key
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND stream <> ''
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.window_end
-- Where so many rows behind a place end; no row: the range ends before.
SELECT pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT 1 OFFSET :beyond;

-- name: listing.entities_sifted
-- Of the rows up to the window's end, those that the filter may pick.
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND entity <> '' AND stream = ''
  AND (CAST(:begin_chars AS BIGINT) = 0 OR SUBSTR(entity, 1, CAST(:begin_chars AS INTEGER)) = :begin)
  AND (CAST(:word AS TEXT) = '%%' OR LOWER(pipeline) LIKE :word ESCAPE '!' OR LOWER(entity) LIKE :word ESCAPE '!')
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_sifted
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND stream <> '' AND (CAST(:name AS TEXT) = '' OR stream = :name)
  AND items >= :least_items AND items <= :most_items
  AND updated_us >= CAST(:now_us AS BIGINT) - :oldest_us AND updated_us <= CAST(:now_us AS BIGINT) - :newest_us
  AND (CAST(:any_lag AS BIGINT) = 1
       OR (completed_us IS NULL AND CAST(:now_us AS BIGINT) - head_us >= :least_lag_us
           AND CAST(:now_us AS BIGINT) - head_us <= :most_lag_us))
  AND (CAST(:begin_chars AS BIGINT) = 0 OR SUBSTR(entity, 1, CAST(:begin_chars AS INTEGER)) = :begin)
  AND (CAST(:word AS TEXT) = '%%' OR LOWER(pipeline) LIKE :word ESCAPE '!' OR LOWER(entity) LIKE :word ESCAPE '!'
       OR LOWER(stream) LIKE :word ESCAPE '!')
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_by_lag
SELECT key_id, head_us AS place, key_id AS tie
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND head_us IS NOT NULL AND completed_us IS NULL
  AND (head_us, key_id) > (:at_place, :at_key_id)
ORDER BY head_us, key_id
LIMIT :scan;

-- name: listing.entities_by_lag
-- Each stream in its place; that of an entity's stream that is furthest behind stands for the entity.
-- The rows of an entity are found by its name, hence the sum.
SELECT CASE WHEN EXISTS (
           SELECT 1 FROM belaypin_checkpoint AS s
           WHERE s.pipeline = r.pipeline AND s.entity = r.entity AND s.completed_us IS NULL
             AND (s.head_us + 0, s.key_id) < (r.place, r.tie)) THEN NULL
       ELSE (SELECT e.key_id FROM belaypin_checkpoint AS e
             WHERE e.pipeline = r.pipeline AND e.entity = r.entity AND e.stream = '') END AS entity_id,
       r.place, r.tie
FROM (SELECT key_id AS tie, pipeline, entity, head_us AS place
      FROM belaypin_checkpoint
      WHERE pipeline = :pipeline AND head_us IS NOT NULL AND completed_us IS NULL
        AND (head_us, key_id) > (:at_place, :at_key_id)
      ORDER BY head_us, key_id
      LIMIT :scan) AS r
ORDER BY r.place, r.tie;

-- name: listing.streams_by_update
SELECT CASE WHEN stream = '' THEN NULL ELSE key_id END AS stream_id, updated_slot AS place, key_id AS tie
FROM belaypin_checkpoint
WHERE pipeline || '' = :pipeline AND (updated_slot, key_id) > (:at_place, :at_key_id)
ORDER BY updated_slot, key_id
LIMIT :scan;

-- name: listing.entities_by_update
-- Each row in its place; that of an entity's newest change stands for the entity.
-- The rows of an entity are found by its name, hence the sum.
SELECT CASE WHEN r.entity = '' OR EXISTS (
           SELECT 1 FROM belaypin_checkpoint AS s
           WHERE s.pipeline = r.pipeline AND s.entity = r.entity
             AND (s.updated_slot + 0, s.key_id) < (r.place, r.tie)) THEN NULL
       ELSE (SELECT e.key_id FROM belaypin_checkpoint AS e
             WHERE e.pipeline = r.pipeline AND e.entity = r.entity AND e.stream = '') END AS entity_id,
       r.place, r.tie
FROM (SELECT key_id AS tie, pipeline, entity, updated_slot AS place
      FROM belaypin_checkpoint
      WHERE pipeline || '' = :pipeline AND (updated_slot, key_id) > (:at_place, :at_key_id)
      ORDER BY updated_slot, key_id
      LIMIT :scan) AS r
ORDER BY r.place, r.tie;

-- name: listing.entities_failing
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE failed_us IS NOT NULL AND stream = ''
  AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
ORDER BY pipeline, entity
LIMIT :scan;

-- name: listing.entities_quarantined
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE quarantined_us IS NOT NULL AND stream = ''
  AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
ORDER BY pipeline, entity
LIMIT :scan;

-- name: listing.entities_priority
-- Those of another priority than the usual one.
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE priority <> 0 AND stream = ''
  AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
ORDER BY pipeline, entity
LIMIT :scan;

-- name: listing.entities_put_aside
SELECT e.key_id, s.pipeline, s.entity, '' AS stream
FROM (SELECT DISTINCT pipeline, entity
      FROM belaypin_checkpoint
      WHERE failures > 0 AND entity <> ''
        AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
      ORDER BY pipeline, entity
      LIMIT :scan) AS s
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
ORDER BY s.pipeline, s.entity;

-- name: listing.entities_gaps
SELECT e.key_id, s.pipeline, s.entity, '' AS stream
FROM (SELECT DISTINCT pipeline, entity
      FROM belaypin_checkpoint
      WHERE intervals > 1 AND entity <> ''
        AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
      ORDER BY pipeline, entity
      LIMIT :scan) AS s
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
ORDER BY s.pipeline, s.entity;

-- name: listing.entities_complete
-- Of which something is complete.
SELECT e.key_id, s.pipeline, s.entity, '' AS stream
FROM (SELECT DISTINCT pipeline, entity
      FROM belaypin_checkpoint
      WHERE completed_us IS NOT NULL AND entity <> ''
        AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
      ORDER BY pipeline, entity
      LIMIT :scan) AS s
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
ORDER BY s.pipeline, s.entity;

-- name: listing.entities_held
-- With a lease that nobody released: few, as each is a worker's, or was.
SELECT DISTINCT e.key_id, e.pipeline, e.entity, e.stream
FROM belaypin_lease AS l
CROSS JOIN belaypin_checkpoint AS e
WHERE l.expires_us <> 0 AND e.key_id = l.key_id
  AND (e.pipeline, e.entity) >= (:pipeline, :entity) AND (e.pipeline, e.entity) <= (:last_pipeline, :last_entity)
ORDER BY e.pipeline, e.entity
LIMIT :scan;

-- name: listing.entities_begun
-- With an open window, or a lease that nobody released.
SELECT e.key_id, s.pipeline, s.entity, '' AS stream
FROM (SELECT pipeline, entity
      FROM (SELECT DISTINCT pipeline, entity
            FROM belaypin_checkpoint
            WHERE is_open = 1
              AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
            ORDER BY pipeline, entity
            LIMIT :scan) AS opened
      UNION
      SELECT k.pipeline, k.entity
      FROM belaypin_lease AS l
      CROSS JOIN belaypin_checkpoint AS k
      WHERE l.expires_us <> 0 AND k.key_id = l.key_id
        AND (k.pipeline, k.entity) >= (:pipeline, :entity)
        AND (k.pipeline, k.entity) <= (:last_pipeline, :last_entity)) AS s
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = s.pipeline AND e.entity = s.entity AND e.stream = ''
ORDER BY s.pipeline, s.entity
LIMIT :scan;

-- name: listing.streams_begun
-- With an open window: of those there is an index by entity, and nothing else may look better.
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE is_open = 1 AND stream <> ''
  AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
  AND (pipeline <> :pipeline OR entity <> :entity OR stream >= :stream)
ORDER BY pipeline, entity, stream || ''
LIMIT :scan;

-- name: listing.streams_put_aside
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE failures > 0 AND stream <> ''
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_gaps
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE intervals > 1 AND stream <> ''
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_complete
SELECT key_id, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE completed_us IS NOT NULL AND stream <> ''
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT :scan;

-- name: listing.streams_failing
-- Of entities that fail.
SELECT s.key_id, s.pipeline, s.entity, s.stream
FROM belaypin_checkpoint AS e
CROSS JOIN belaypin_checkpoint AS s
WHERE e.failed_us IS NOT NULL AND e.stream = '' AND s.pipeline = e.pipeline AND s.entity = e.entity AND s.stream <> ''
  AND (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
  AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND (e.pipeline, e.entity) >= (:pipeline, :entity) AND (e.pipeline, e.entity) <= (:last_pipeline, :last_entity)
ORDER BY e.pipeline, e.entity, s.stream
LIMIT :scan;

-- name: listing.streams_priority
SELECT s.key_id, s.pipeline, s.entity, s.stream
FROM belaypin_checkpoint AS e
CROSS JOIN belaypin_checkpoint AS s
WHERE e.priority <> 0 AND e.stream = '' AND s.pipeline = e.pipeline AND s.entity = e.entity AND s.stream <> ''
  AND (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
  AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND (e.pipeline, e.entity) >= (:pipeline, :entity) AND (e.pipeline, e.entity) <= (:last_pipeline, :last_entity)
ORDER BY e.pipeline, e.entity, s.stream
LIMIT :scan;

-- name: listing.streams_held
-- Of entities with a lease that nobody released.
SELECT DISTINCT s.key_id, s.pipeline, s.entity, s.stream
FROM belaypin_lease AS l
CROSS JOIN belaypin_checkpoint AS e
CROSS JOIN belaypin_checkpoint AS s
WHERE l.expires_us <> 0 AND e.key_id = l.key_id
  AND s.pipeline = e.pipeline AND s.entity = e.entity AND s.stream <> ''
  AND (s.pipeline, s.entity, s.stream) >= (:pipeline, :entity, :stream)
  AND (s.pipeline, s.entity, s.stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY s.pipeline, s.entity, s.stream
LIMIT :scan;

-- name: listing.entities
-- What is known of these entities, each with its streams rolled up.
WITH wanted AS (
    SELECT key_id, pipeline, entity
    FROM belaypin_checkpoint
    WHERE key_id IN {ids}
), rolled AS (
    SELECT w.key_id, CAST(SUM(s.items) AS BIGINT) AS items, CAST(SUM(s.skipped) AS BIGINT) AS skipped,
           CAST(SUM(s.changed) AS BIGINT) AS changed, CAST(SUM(s.late) AS BIGINT) AS late,
           CAST(SUM(s.failures) AS BIGINT) AS failures, MAX(s.updated_us) AS updated_us,
           COUNT(CASE WHEN s.stream <> '' THEN 1 END) AS streams,
           COUNT(CASE WHEN s.stream <> '' THEN s.completed_us END) AS complete,
           COUNT(CASE WHEN s.is_open = 1 AND s.completed_us IS NULL THEN 1 END) AS begun,
           CAST(SUM(CASE WHEN s.intervals > 1 THEN s.intervals - 1 ELSE 0 END) AS BIGINT) AS gaps,
           MIN(CASE WHEN s.completed_us IS NULL THEN s.head_us END) AS head_us
    FROM wanted AS w
    JOIN belaypin_checkpoint AS s ON s.pipeline = w.pipeline AND s.entity = w.entity
    GROUP BY w.key_id
)
SELECT e.key_id, e.pipeline, e.entity, e.attempts, e.error, e.priority, e.quarantined_us, e.failed_us, e.next_try_us,
       e.completed_us, r.items, r.skipped, r.changed, r.late, r.failures, r.updated_us, r.streams, r.complete,
       r.begun, {now_us} AS now_us, r.gaps, r.head_us,
       CASE WHEN r.head_us IS NULL THEN NULL ELSE (
           SELECT MIN(s.stream) FROM belaypin_checkpoint AS s
           WHERE s.pipeline = e.pipeline AND s.entity = e.entity AND s.head_us = r.head_us
             AND s.completed_us IS NULL) END AS lag_stream
FROM rolled AS r
JOIN belaypin_checkpoint AS e ON e.key_id = r.key_id;

-- name: listing.streams
-- What is known of these streams, each with what its entity's row says.
SELECT c.key_id, c.pipeline, c.entity, c.stream, e.key_id AS entity_id, c.items, c.skipped, c.changed, c.late,
       c.too_late, c.stale, c.failures, c.is_open, c.completed_us, c.processor, c.updated_us, c.version,
       e.error, e.priority, e.quarantined_us, e.failed_us, e.next_try_us, {now_us} AS now_us, c.intervals, c.head_us,
       CASE WHEN c.head_us IS NULL THEN NULL ELSE (
           SELECT MIN(v.start_us) FROM belaypin_coverage AS v
           WHERE v.key_id = c.key_id AND v.generation = c.generation) END AS covered_us, c.live_from_us, c.live_to_us
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
-- Those that nobody released: few, as each is a worker's, or was.
SELECT l.key_id, c.pipeline, c.entity, c.stream, l.role, l.owner, l.token, l.ttl_us, l.acquired_us, l.renewed_us,
       l.expires_us, l.deaths, {now_us} AS now_us
FROM belaypin_lease AS l
CROSS JOIN belaypin_checkpoint AS c
WHERE l.expires_us <> 0 AND c.key_id = l.key_id
  AND (c.pipeline, c.entity, l.role) > (:at_pipeline, :at_entity, :at_role)
  AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
  AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY c.pipeline, c.entity, l.role
LIMIT :scan;

-- name: listing.all_leases
-- Released ones too: one for each entity, so they are read in the order of the keys.
SELECT l.key_id, c.pipeline, c.entity, c.stream, l.role, l.owner, l.token, l.ttl_us, l.acquired_us, l.renewed_us,
       l.expires_us, l.deaths, {now_us} AS now_us
FROM belaypin_checkpoint AS c
CROSS JOIN belaypin_lease AS l
WHERE l.key_id = c.key_id AND c.stream = ''
  AND (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
  AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
  AND (c.pipeline <> :at_pipeline OR c.entity <> :at_entity OR l.role > :at_role)
ORDER BY c.pipeline, c.entity, l.role
LIMIT :scan;

-- name: listing.windows
-- Streams with an open window, each with the row of its entity, which the leases are taken on. Only those
-- that are listed are looked up further.
SELECT o.pipeline, o.entity, o.stream, o.progress, o.updated_us, COALESCE(e.key_id, 0) AS entity_id
FROM (SELECT pipeline, entity, stream, progress, updated_us
      FROM belaypin_checkpoint
      WHERE is_open = 1 AND stream <> ''
        AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
        AND (pipeline <> :pipeline OR entity <> :entity OR stream >= :stream)
        AND (pipeline <> :last_pipeline OR entity <> :last_entity OR stream <= :last_stream)
      ORDER BY pipeline, entity, stream || ''
      LIMIT :scan) AS o
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = o.pipeline AND e.entity = o.entity AND e.stream = ''
ORDER BY o.pipeline, o.entity, o.stream;

-- name: listing.holders
-- The leases of these entities, released ones too: who works on their windows, or did last.
SELECT l.key_id, c.pipeline, c.entity, c.stream, l.role, l.owner, l.token, l.ttl_us, l.acquired_us, l.renewed_us,
       l.expires_us, l.deaths, {now_us} AS now_us
FROM belaypin_lease AS l
JOIN belaypin_checkpoint AS c ON c.key_id = l.key_id
WHERE l.key_id IN {ids};

-- name: listing.segments
-- A few segments of a stream, oldest first.
SELECT s.seq, s.created_us, s.payload
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS s ON s.key_id = c.key_id AND s.generation = c.generation
WHERE c.pipeline = :pipeline AND c.entity = :entity AND c.stream = :stream AND s.seq >= :seq
ORDER BY s.seq
LIMIT :scan;

-- name: listing.operations
SELECT operation_id, status, attempts, owner, error, expires_us, created_us, updated_us, completed_us,
       {now_us} AS now_us
FROM belaypin_operation
WHERE operation_id > :after
ORDER BY operation_id
LIMIT :scan;

-- name: listing.unfinished_operations
-- Few of all: they have an index of their own.
SELECT operation_id, status, attempts, owner, error, expires_us, created_us, updated_us, completed_us,
       {now_us} AS now_us
FROM belaypin_operation
WHERE status <> 'done' AND operation_id > :after
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
