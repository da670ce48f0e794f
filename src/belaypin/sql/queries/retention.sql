-- Retention: what may be dropped, in small steps. `span` statements say how far the next step goes and
-- what it would drop; `drop` statements do it. A step is one short transaction.

-- name: retention.segments_next
-- The first stream behind :after that has segments which lie wholly below its horizon.
SELECT c.key_id, c.pipeline, c.entity, c.stream, COUNT(*),
       CAST(SUM(LENGTH(s.payload)) AS BIGINT) AS payload_bytes
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS s ON s.key_id = c.key_id AND s.generation = c.generation AND s.seq > c.barrier_seq
WHERE c.key_id > :after AND c.horizon_us > :never_us AND s.newest_us < c.horizon_us
GROUP BY c.key_id, c.pipeline, c.entity, c.stream
ORDER BY c.key_id
LIMIT 1;

-- name: retention.lock
SELECT generation, head_seq, horizon_us
FROM belaypin_checkpoint
WHERE key_id = :key_id
{for_update};

-- name: retention.segments_drop
-- What belongs to a savepoint stays until that is dropped.
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND seq IN (
    SELECT seq
    FROM belaypin_segment
    WHERE key_id = :key_id AND generation = :generation AND newest_us < :horizon_us
      AND seq > (SELECT c.barrier_seq FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
    ORDER BY seq
    LIMIT :limit)
RETURNING items, LENGTH(payload);

-- name: retention.segments_tell
-- The head moves, so that live workers list the stream's segments anew.
UPDATE belaypin_checkpoint
SET head_seq = head_seq + 1, dropped = dropped + :items
WHERE key_id = :key_id;

-- name: retention.generations_next
-- The first key behind :after that has records of a generation which ended before :before_us: by then
-- the present one had made a segment of its own. A rewind may have given it older ones.
SELECT c.key_id, c.generation,
       (SELECT COUNT(*) FROM belaypin_segment AS s
        WHERE s.key_id = c.key_id AND s.generation < c.generation AND s.seq > c.barrier_seq),
       (SELECT COUNT(*) FROM belaypin_coverage AS v WHERE v.key_id = c.key_id AND v.generation < c.generation),
       (SELECT CAST(COALESCE(SUM(LENGTH(s.payload)), 0) AS BIGINT) FROM belaypin_segment AS s
        WHERE s.key_id = c.key_id AND s.generation < c.generation AND s.seq > c.barrier_seq)
FROM belaypin_checkpoint AS c
WHERE c.key_id > :after AND c.generation > 1
  AND (SELECT MIN(s.created_us) FROM belaypin_segment AS s
       WHERE s.key_id = c.key_id AND s.generation = c.generation
         AND s.seq > (SELECT COALESCE(MAX(o.seq), 0) FROM belaypin_segment AS o
                      WHERE o.key_id = c.key_id AND o.generation < c.generation)) < :before_us
  AND (EXISTS (SELECT 1 FROM belaypin_segment AS s
               WHERE s.key_id = c.key_id AND s.generation < c.generation AND s.seq > c.barrier_seq)
       OR EXISTS (SELECT 1 FROM belaypin_coverage AS v
                  WHERE v.key_id = c.key_id AND v.generation < c.generation))
ORDER BY c.key_id
LIMIT 1;

-- name: retention.generations_drop_segments
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND seq IN (
    SELECT seq
    FROM belaypin_segment
    WHERE key_id = :key_id AND generation < :generation
      AND seq > (SELECT c.barrier_seq FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
    ORDER BY seq
    LIMIT :limit)
RETURNING LENGTH(payload);

-- name: retention.generations_drop_coverage
DELETE FROM belaypin_coverage
WHERE key_id = :key_id AND (generation, start_us) IN (
    SELECT generation, start_us
    FROM belaypin_coverage
    WHERE key_id = :key_id AND generation < :generation
    ORDER BY generation, start_us
    LIMIT :limit)
RETURNING start_us;

-- name: retention.audit_beyond
-- The newest entry that is one too many.
SELECT COALESCE(MAX(audit_id), 0)
FROM (SELECT audit_id FROM belaypin_audit ORDER BY audit_id DESC LIMIT 1 OFFSET :keep) AS oldest;

-- name: retention.audit_span
SELECT MAX(audit_id), COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT)
FROM (SELECT audit_id, LENGTH(detail) AS size
      FROM belaypin_audit
      WHERE audit_id > :after AND (at_us < :before_us OR audit_id <= :beyond)
      ORDER BY audit_id
      LIMIT :limit) AS step;

-- name: retention.audit_drop
DELETE FROM belaypin_audit
WHERE audit_id > :after AND audit_id <= :last AND (at_us < :before_us OR audit_id <= :beyond)
RETURNING LENGTH(detail);

-- name: retention.samples_span
-- Of all samples in an hour (or, from :daily_us back, in a day) the first stays; from :ends_us back none.
SELECT MAX(slot_us), COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT)
FROM (SELECT h.slot_us, LENGTH(h.figures) AS size
      FROM belaypin_health AS h
      WHERE h.pipeline = :pipeline AND h.slot_us > :after AND h.slot_us < :hourly_us
        AND (h.slot_us < :ends_us OR EXISTS (
            SELECT 1
            FROM belaypin_health AS e
            WHERE e.pipeline = h.pipeline AND e.slot_us < h.slot_us AND e.slot_us >= h.slot_us
                - h.slot_us % CASE WHEN h.slot_us < :daily_us THEN 86400000000 ELSE 3600000000 END))
      ORDER BY h.slot_us
      LIMIT :limit) AS step;

-- name: retention.samples_drop
-- The first of its hour or day is found before any is dropped: it never goes itself.
DELETE FROM belaypin_health
WHERE pipeline = :pipeline AND slot_us > :after AND slot_us <= :last AND slot_us < :hourly_us
  AND (slot_us < :ends_us OR EXISTS (
      SELECT 1
      FROM belaypin_health AS e
      WHERE e.pipeline = belaypin_health.pipeline AND e.slot_us < belaypin_health.slot_us
        AND e.slot_us >= belaypin_health.slot_us
            - belaypin_health.slot_us % CASE WHEN belaypin_health.slot_us < :daily_us
                                             THEN 86400000000 ELSE 3600000000 END))
RETURNING LENGTH(figures);

-- name: retention.samples_pipeline
SELECT MIN(pipeline)
FROM belaypin_health
WHERE pipeline > :pipeline;

-- name: retention.orphans_segments
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND seq IN (
    SELECT seq FROM belaypin_segment WHERE key_id = :key_id ORDER BY seq LIMIT :limit)
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
RETURNING LENGTH(payload);

-- name: retention.orphans_coverage
DELETE FROM belaypin_coverage
WHERE key_id = :key_id AND (generation, start_us) IN (
    SELECT generation, start_us FROM belaypin_coverage WHERE key_id = :key_id
    ORDER BY generation, start_us LIMIT :limit)
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
RETURNING start_us;

-- name: retention.orphans_leases
DELETE FROM belaypin_lease
WHERE key_id = :key_id
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
RETURNING role;

-- name: retention.orphans_history
DELETE FROM belaypin_history
WHERE key_id = :key_id AND version IN (
    SELECT version FROM belaypin_history WHERE key_id = :key_id ORDER BY version LIMIT :limit)
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
RETURNING version;

-- name: retention.orphans_savepoints
DELETE FROM belaypin_savepoint_key
WHERE key_id = :key_id AND savepoint_id IN (
    SELECT savepoint_id FROM belaypin_savepoint_key WHERE key_id = :key_id ORDER BY savepoint_id LIMIT :limit)
  AND NOT EXISTS (SELECT 1 FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
RETURNING savepoint_id;

-- name: health.recorded
SELECT 1
FROM belaypin_health
WHERE pipeline = :pipeline AND slot_us = :slot_us;

-- name: health.record
-- Of all who want to fill a slot, one does.
INSERT INTO belaypin_health (pipeline, slot_us, at_us, figures)
VALUES (:pipeline, :slot_us, :at_us, :figures)
ON CONFLICT (pipeline, slot_us) DO NOTHING
RETURNING slot_us;

-- name: health.history
SELECT figures
FROM belaypin_health
WHERE pipeline = :pipeline AND at_us >= :since_us AND at_us < :until_us
ORDER BY slot_us
LIMIT :limit;

-- name: retention.results_span
SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT)
FROM (SELECT LENGTH(result) AS size
      FROM belaypin_operation
      WHERE result_expires_us IS NOT NULL AND result IS NOT NULL AND result_expires_us <= {now_us}
      ORDER BY result_expires_us, operation_id
      LIMIT :limit OFFSET :skip) AS step;

-- name: retention.attempts_span
-- Of operations that are done: how they came there is history.
SELECT a.operation_id, a.attempt, COALESCE(LENGTH(a.error), 0) + COALESCE(LENGTH(a.traceback), 0) AS size
FROM belaypin_attempt AS a
WHERE (a.operation_id, a.attempt) > (:after_id, :after_attempt) AND a.ended_us < :before_us
  AND EXISTS (SELECT 1 FROM belaypin_operation AS o WHERE o.operation_id = a.operation_id AND o.status = 'done')
ORDER BY a.operation_id, a.attempt
LIMIT :limit;

-- name: retention.attempts_drop
DELETE FROM belaypin_attempt
WHERE (operation_id, attempt) > (:after_id, :after_attempt)
  AND (operation_id, attempt) <= (:last_id, :last_attempt) AND ended_us < :before_us
  AND EXISTS (SELECT 1 FROM belaypin_operation AS o
              WHERE o.operation_id = belaypin_attempt.operation_id AND o.status = 'done')
RETURNING attempt;

-- name: retention.messages_span
SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT)
FROM (SELECT LENGTH(payload) AS size
      FROM belaypin_outbox
      WHERE delivered_us IS NOT NULL AND delivered_us < :before_us
      ORDER BY delivered_us, message_id
      LIMIT :limit OFFSET :skip) AS step;
