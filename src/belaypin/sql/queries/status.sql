-- Status: rolled up from the rows of the keys in a range; nothing is counted twice anywhere.

-- name: status.rows
-- Sums over the rows, each visited once.
SELECT COUNT(CASE WHEN stream = '' THEN 1 END), COUNT(CASE WHEN stream <> '' THEN 1 END),
       COUNT(CASE WHEN stream <> '' THEN completed_us END), COUNT(CASE WHEN stream = '' THEN completed_us END),
       COUNT(CASE WHEN is_open = 1 THEN 1 END),
       CAST(COALESCE(SUM(items), 0) AS BIGINT), CAST(COALESCE(SUM(skipped), 0) AS BIGINT),
       CAST(COALESCE(SUM(changed), 0) AS BIGINT), CAST(COALESCE(SUM(late), 0) AS BIGINT)
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND entity <> '';

-- name: status.busy
-- Entities of which something is open, leased, failing or in quarantine. Each has two words, its own and
-- that of its streams with an open window; those with the same two are counted together.
-- docs/explanation/recovery.md has the words.
WITH moment AS (
    SELECT {now_us} AS now_us
), wanted AS (
    SELECT e.key_id
    FROM belaypin_checkpoint AS o
    JOIN belaypin_checkpoint AS e ON e.pipeline = o.pipeline AND e.entity = o.entity AND e.stream = ''
    WHERE o.is_open = 1 AND o.pipeline = :pipeline AND o.entity >= :entity AND o.entity <= :last_entity
    UNION
    SELECT e.key_id
    FROM belaypin_lease AS l
    CROSS JOIN belaypin_checkpoint AS e
    WHERE l.expires_us <> 0 AND e.key_id = l.key_id AND e.pipeline = :pipeline AND e.entity >= :entity AND e.entity <= :last_entity
    UNION
    SELECT key_id
    FROM belaypin_checkpoint
    WHERE failed_us IS NOT NULL AND pipeline = :pipeline AND entity >= :entity AND entity <= :last_entity
    UNION
    SELECT key_id
    FROM belaypin_checkpoint
    WHERE quarantined_us IS NOT NULL AND pipeline = :pipeline AND entity >= :entity AND entity <= :last_entity
), each_entity AS (
    SELECT e.completed_us, e.quarantined_us, e.failed_us, e.next_try_us, m.now_us,
           (SELECT COUNT(*) FROM belaypin_lease AS l WHERE l.key_id = e.key_id AND l.expires_us <> 0) AS leases,
           (SELECT COUNT(*) FROM belaypin_lease AS l
            WHERE l.key_id = e.key_id AND l.expires_us <> 0 AND l.expires_us > m.now_us
              AND l.expires_us <= m.now_us + 2 * l.ttl_us) AS live,
           (SELECT COUNT(*) FROM belaypin_checkpoint AS o
            WHERE o.pipeline = e.pipeline AND o.entity = e.entity AND o.is_open = 1
              AND o.completed_us IS NULL) AS begun,
           (SELECT COUNT(*) FROM belaypin_checkpoint AS s
            WHERE s.pipeline = e.pipeline AND s.entity = e.entity AND s.stream <> ''
              AND s.completed_us IS NULL) AS unfinished,
           (SELECT COUNT(*) FROM belaypin_checkpoint AS s
            WHERE s.pipeline = e.pipeline AND s.entity = e.entity AND s.stream <> '') AS streams
    FROM wanted AS w
    CROSS JOIN moment AS m
    JOIN belaypin_checkpoint AS e ON e.key_id = w.key_id
), worded AS (
    SELECT CASE WHEN quarantined_us IS NOT NULL THEN 'quarantined'
                WHEN live > 0 THEN 'working'
                WHEN failed_us IS NOT NULL AND next_try_us > now_us THEN 'waiting'
                WHEN failed_us IS NOT NULL THEN 'failed'
                WHEN begun > 0 OR leases > 0 THEN 'interrupted'
                WHEN completed_us IS NOT NULL OR (streams > 0 AND unfinished = 0) THEN 'complete'
                ELSE 'open' END AS word,
           CASE WHEN live > 0 THEN 'working'
                WHEN quarantined_us IS NOT NULL THEN 'quarantined'
                WHEN failed_us IS NOT NULL AND next_try_us > now_us THEN 'waiting'
                WHEN failed_us IS NOT NULL THEN 'failed'
                ELSE 'interrupted' END AS begun_word,
           begun, live
    FROM each_entity
)
SELECT word, begun_word, COUNT(*), CAST(SUM(begun) AS BIGINT), CAST(SUM(live) AS BIGINT)
FROM worded
GROUP BY word, begun_word
ORDER BY word, begun_word;

-- name: status.complete
-- Entities that are complete and of which nothing is open, leased, failing or in quarantine. Asked only
-- if anything is complete.
WITH begun AS (
    SELECT pipeline, entity
    FROM belaypin_checkpoint
    WHERE completed_us IS NOT NULL AND pipeline = :pipeline AND entity >= :entity AND entity <= :last_entity AND entity <> ''
    GROUP BY pipeline, entity
)
SELECT COUNT(*)
FROM begun AS b
JOIN belaypin_checkpoint AS e ON e.pipeline = b.pipeline AND e.entity = b.entity AND e.stream = ''
WHERE e.quarantined_us IS NULL AND e.failed_us IS NULL
  AND NOT EXISTS (SELECT 1 FROM belaypin_lease AS l WHERE l.key_id = e.key_id AND l.expires_us <> 0)
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS o
                  WHERE o.pipeline = b.pipeline AND o.entity = b.entity AND o.is_open = 1)
  AND (e.completed_us IS NOT NULL
       OR NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS s
                      WHERE s.pipeline = b.pipeline AND s.entity = b.entity AND s.stream <> ''
                        AND s.completed_us IS NULL));

-- name: status.own
-- What stands on the Key's own row, and on that of its entity.
SELECT k.stream, k.items, k.skipped, k.changed, k.late, k.completed_us, k.is_open, k.attempts, e.failed_runs,
       e.idle_attempts, e.priority, e.quarantined_us, e.quarantine_reason
FROM belaypin_checkpoint AS k
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = k.pipeline AND e.entity = k.entity AND e.stream = ''
WHERE k.pipeline = :pipeline AND k.entity = :entity AND k.stream = :stream;

-- name: status.gaps
-- The holes of all streams: only those that have some are visited.
SELECT CAST(COALESCE(SUM(intervals - 1), 0) AS BIGINT)
FROM belaypin_checkpoint
WHERE intervals > 1
  AND pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream);

-- name: status.head_of_pipeline
-- The stream whose head is furthest behind, of those that are not complete.
SELECT head_us, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND head_us IS NOT NULL AND completed_us IS NULL
  AND head_us = (SELECT MIN(c.head_us) FROM belaypin_checkpoint AS c
                 WHERE c.pipeline = :pipeline AND c.head_us IS NOT NULL AND c.completed_us IS NULL)
ORDER BY entity || '', stream || ''
LIMIT 1;

-- name: status.head
-- The same of few keys, which are found by their names, hence the sum.
SELECT head_us, pipeline, entity, stream
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND head_us IS NOT NULL AND completed_us + 0 IS NULL
ORDER BY head_us, pipeline, entity, stream
LIMIT 1;

-- name: status.error
-- The newest failure of those that are not over.
SELECT pipeline, entity, error, failed_us, next_try_us
FROM belaypin_checkpoint
WHERE failed_us IS NOT NULL AND stream = ''
  AND pipeline = :pipeline AND entity >= :entity AND entity <= :last_entity
ORDER BY failed_us DESC, pipeline, entity
LIMIT 1;
