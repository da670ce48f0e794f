-- Status: rolled up from the rows of the keys in a range; nothing is counted twice anywhere.

-- name: status.entities
-- Two words for each entity, its own and that of its streams with an open window; then how many
-- entities have the same two, and the sums of their rows. docs/explanation/recovery.md has the words.
WITH moment AS (
    SELECT {now_us} AS now_us
), held AS (
    SELECT l.key_id, SUM(CASE WHEN l.expires_us > m.now_us AND l.expires_us <= m.now_us + 2 * l.ttl_us
                              THEN 1 ELSE 0 END) AS live, COUNT(*) AS leases
    FROM belaypin_lease AS l
    CROSS JOIN moment AS m
    WHERE l.expires_us <> 0
    GROUP BY l.key_id
), each_entity AS (
    SELECT SUM(c.items) AS items, SUM(c.skipped) AS skipped, SUM(c.changed) AS changed, SUM(c.late) AS late,
           SUM(CASE WHEN c.stream <> '' THEN 1 ELSE 0 END) AS streams,
           SUM(CASE WHEN c.stream <> '' AND c.completed_us IS NOT NULL THEN 1 ELSE 0 END) AS complete,
           SUM(CASE WHEN c.completed_us IS NULL AND c.progress <> '{}' THEN 1 ELSE 0 END) AS begun,
           SUM(CASE WHEN c.progress <> '{}' THEN 1 ELSE 0 END) AS windows,
           MAX(CASE WHEN c.stream = '' THEN c.completed_us END) AS completed_us,
           MAX(c.quarantined_us) AS quarantined_us, MAX(c.failed_us) AS failed_us,
           MAX(c.next_try_us) AS next_try_us, MAX(m.now_us) AS now_us,
           COALESCE(SUM(h.live), 0) AS live, COALESCE(SUM(h.leases), 0) AS leases
    FROM belaypin_checkpoint AS c
    CROSS JOIN moment AS m
    LEFT JOIN held AS h ON h.key_id = c.key_id
    WHERE (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
      AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
      AND c.entity <> ''
    GROUP BY c.pipeline, c.entity
), worded AS (
    SELECT e.*,
           CASE WHEN quarantined_us IS NOT NULL THEN 'quarantined'
                WHEN live > 0 THEN 'working'
                WHEN failed_us IS NOT NULL AND next_try_us > now_us THEN 'waiting'
                WHEN failed_us IS NOT NULL THEN 'failed'
                WHEN begun > 0 OR leases > 0 THEN 'interrupted'
                WHEN completed_us IS NOT NULL OR (streams > 0 AND complete = streams) THEN 'complete'
                ELSE 'open' END AS word,
           CASE WHEN live > 0 THEN 'working'
                WHEN quarantined_us IS NOT NULL THEN 'quarantined'
                WHEN failed_us IS NOT NULL AND next_try_us > now_us THEN 'waiting'
                WHEN failed_us IS NOT NULL THEN 'failed'
                ELSE 'interrupted' END AS begun_word
    FROM each_entity AS e
)
SELECT word, begun_word, COUNT(*), CAST(SUM(streams) AS BIGINT), CAST(SUM(complete) AS BIGINT),
       CAST(SUM(begun) AS BIGINT), CAST(SUM(windows) AS BIGINT), CAST(SUM(live) AS BIGINT),
       CAST(SUM(items) AS BIGINT), CAST(SUM(skipped) AS BIGINT), CAST(SUM(changed) AS BIGINT),
       CAST(SUM(late) AS BIGINT)
FROM worded
GROUP BY word, begun_word
ORDER BY word, begun_word;

-- name: status.own
-- What stands on the Key's own row, and on that of its entity.
SELECT k.stream, k.items, k.skipped, k.changed, k.late, k.completed_us, k.progress, k.attempts, e.failures,
       e.idle_attempts, e.priority, e.quarantined_us, e.quarantine_reason
FROM belaypin_checkpoint AS k
LEFT JOIN belaypin_checkpoint AS e ON e.pipeline = k.pipeline AND e.entity = k.entity AND e.stream = ''
WHERE k.pipeline = :pipeline AND k.entity = :entity AND k.stream = :stream;

-- name: status.coverage
-- The holes of all streams, and the one whose head is furthest behind, of those that are not complete.
WITH heads AS (
    SELECT c.pipeline, c.entity, c.stream, MAX(c.completed_us) AS completed_us, MIN(v.end_us) AS head_us,
           COUNT(*) - 1 AS gaps
    FROM belaypin_checkpoint AS c
    JOIN belaypin_coverage AS v ON v.key_id = c.key_id AND v.generation = c.generation
    WHERE (c.pipeline, c.entity, c.stream) >= (:pipeline, :entity, :stream)
      AND (c.pipeline, c.entity, c.stream) <= (:last_pipeline, :last_entity, :last_stream)
    GROUP BY c.pipeline, c.entity, c.stream
)
SELECT CAST(SUM(gaps) OVER () AS BIGINT), CASE WHEN completed_us IS NULL THEN head_us END, pipeline, entity,
       stream
FROM heads
ORDER BY CASE WHEN completed_us IS NULL THEN 0 ELSE 1 END, head_us, pipeline, entity, stream
LIMIT 1;

-- name: status.error
-- The newest failure of those that are not over.
SELECT pipeline, entity, error, failed_us, next_try_us
FROM belaypin_checkpoint
WHERE failed_us IS NOT NULL AND stream = ''
  AND (pipeline, entity) >= (:pipeline, :entity) AND (pipeline, entity) <= (:last_pipeline, :last_entity)
ORDER BY failed_us DESC, pipeline, entity
LIMIT 1;
