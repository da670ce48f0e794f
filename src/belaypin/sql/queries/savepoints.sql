-- Savepoints, and the way back to them. Locks: the entity's leases, its rows by key_id, then the rest.

-- name: travel.leases
-- No commit under one of these leases can be on its way while we hold their rows.
SELECT l.role, l.owner, l.token, l.ttl_us, l.expires_us, {now_us} AS now_us
FROM belaypin_lease AS l
WHERE l.key_id = (SELECT c.key_id FROM belaypin_checkpoint AS c
                  WHERE c.pipeline = :pipeline AND c.entity = :entity AND c.stream = '')
ORDER BY l.role
{for_update};

-- name: travel.holders
-- Every lease of a pipeline that has not ended, to refuse before anything is begun.
SELECT c.entity, l.role, l.owner, l.token, l.ttl_us, l.expires_us, {now_us} AS now_us
FROM belaypin_checkpoint AS c
JOIN belaypin_lease AS l ON l.key_id = c.key_id
WHERE c.pipeline = :pipeline AND c.entity >= :entity AND c.entity <= :last_entity AND c.stream = ''
  AND l.expires_us > {now_us}
ORDER BY c.entity, l.role;

-- name: travel.end_leases
-- Their rows stay, for their tokens: whoever comes next has a larger one.
UPDATE belaypin_lease
SET expires_us = 0
WHERE expires_us <> 0
  AND key_id = (SELECT c.key_id FROM belaypin_checkpoint AS c
                WHERE c.pipeline = :pipeline AND c.entity = :entity AND c.stream = '');

-- name: travel.rows
SELECT key_id, stream, generation, commits, head_seq, progress, items, skipped, version, schema_version,
       content_hash, last_seen_us, failures, CASE WHEN state IS NULL THEN 0 ELSE 1 END AS has_state, {now_us} AS now_us
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream >= :stream AND stream <= :last_stream
ORDER BY key_id
{for_update};

-- name: travel.next_entity
SELECT MIN(entity)
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity > :after;

-- name: travel.coverage
INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)
SELECT key_id, :generation, start_at, end_at
FROM belaypin_savepoint_span
WHERE key_id = :key_id AND savepoint_id = :savepoint_id AND what = 'time';

-- name: travel.segments
-- What the savepoint had belongs to the new generation; all else stays where it is.
UPDATE belaypin_segment
SET generation = :generation
WHERE key_id = :key_id
  AND EXISTS (SELECT 1 FROM belaypin_savepoint_span AS r
              WHERE r.key_id = belaypin_segment.key_id AND r.savepoint_id = :savepoint_id
                AND r.what = 'seq' AND belaypin_segment.seq BETWEEN r.start_at AND r.end_at);

-- name: travel.restore
-- The version never goes back: a state that differs from what is there is a new version.
UPDATE belaypin_checkpoint
SET generation = :generation, progress = s.progress,
    is_open = CASE WHEN s.progress = '{}' THEN 0 ELSE 1 END, items = s.items, skipped = s.skipped,
    changed = s.changed, late = s.late, stale = s.stale,
    too_late = s.too_late, dropped = s.dropped, processor = s.processor, revision = s.revision,
    content_hash = s.content_hash, first_seen_us = s.first_seen_us,
    last_seen_us = s.last_seen_us, completed_us = s.completed_us, schema_version = s.schema_version,
    state = CASE WHEN :is_same = 1 THEN belaypin_checkpoint.state ELSE (
        SELECT h.state FROM belaypin_history AS h
        WHERE h.key_id = s.key_id AND h.version = s.version AND h.schema_version = s.schema_version
          AND h.is_damaged = 0) END,
    version = belaypin_checkpoint.version + CASE WHEN :is_same = 1 THEN 0 ELSE 1 END,
    live_from_us = NULL, live_to_us = NULL, updated_us = {now_us}
FROM belaypin_savepoint_key AS s
WHERE belaypin_checkpoint.key_id = :key_id AND s.key_id = :key_id AND s.savepoint_id = :savepoint_id;

-- name: travel.blank
-- Whose code may work here does not change: nothing is known of the items, but much of the code.
UPDATE belaypin_checkpoint
SET generation = :generation, progress = '{}', is_open = 0, items = 0, skipped = 0, changed = 0,
    late = 0, stale = 0, too_late = 0, dropped = 0, failures = 0, revision = NULL, content_hash = NULL,
    first_seen_us = NULL, last_seen_us = NULL, completed_us = NULL,
    schema_version = 0, state = NULL, version = version + CASE WHEN :is_same = 1 THEN 0 ELSE 1 END,
    live_from_us = NULL, live_to_us = NULL, updated_us = {now_us}
WHERE key_id = :key_id;

-- name: travel.progress
UPDATE belaypin_checkpoint
SET progress = :progress, is_open = CASE WHEN CAST(:progress AS TEXT) = '{}' THEN 0 ELSE 1 END,
    live_from_us = CASE WHEN live_from_us < :end_us AND live_to_us > :start_us THEN NULL ELSE live_from_us END,
    live_to_us = CASE WHEN live_from_us < :end_us AND live_to_us > :start_us THEN NULL ELSE live_to_us END,
    commits = commits + 1, updated_us = {now_us}
WHERE key_id = :key_id;

-- name: savepoint.open
INSERT INTO belaypin_savepoint (pipeline, entity, name, note, created_us)
VALUES (:pipeline, :entity, :name, :note, {now_us})
ON CONFLICT (pipeline, entity, name) DO NOTHING;

-- name: savepoint.find
SELECT savepoint_id, pipeline, entity, name, note, entities, saved_to, is_dropped, created_us,
       finished_us
FROM belaypin_savepoint
WHERE pipeline = :pipeline AND entity = :entity AND name = :name;

-- name: savepoint.list
SELECT savepoint_id, pipeline, entity, name, note, entities, saved_to, is_dropped, created_us,
       finished_us
FROM belaypin_savepoint
WHERE is_dropped = 0 AND pipeline >= :pipeline AND pipeline <= :last_pipeline
  AND entity >= :entity AND entity <= :last_entity
ORDER BY savepoint_id DESC;

-- name: savepoint.advance
-- Who else takes the same savepoint and was faster has moved it on: then no row comes back.
UPDATE belaypin_savepoint
SET saved_to = :entity, entities = entities + :entities
WHERE savepoint_id = :savepoint_id AND finished_us IS NULL AND is_dropped = 0
  AND (saved_to IS NULL OR saved_to < :entity)
RETURNING entities;

-- name: savepoint.finish
UPDATE belaypin_savepoint
SET finished_us = COALESCE(finished_us, {now_us})
WHERE savepoint_id = :savepoint_id AND is_dropped = 0
RETURNING finished_us;

-- name: savepoint.is_dropped
-- Asked while the entity is held: who drops a savepoint says so before he takes anything from it.
SELECT is_dropped
FROM belaypin_savepoint
WHERE savepoint_id = :savepoint_id;

-- name: savepoint.dropping
UPDATE belaypin_savepoint
SET is_dropped = 1
WHERE savepoint_id = :savepoint_id
RETURNING savepoint_id;

-- name: savepoint.delete
DELETE FROM belaypin_savepoint
WHERE savepoint_id = :savepoint_id;

-- name: savepoint.key
INSERT INTO belaypin_savepoint_key
    (key_id, savepoint_id, generation, head_seq, progress, items, skipped, changed, late, stale,
     too_late, dropped, processor, revision, version, schema_version, has_state, content_hash, first_seen_us, last_seen_us, completed_us,
     at_generation, at_commits, at_version)
SELECT key_id, :savepoint_id, generation, head_seq, progress, items, skipped, changed, late, stale,
       too_late, dropped, processor, revision, version, schema_version, CASE WHEN state IS NULL THEN 0 ELSE 1 END, content_hash, first_seen_us,
       last_seen_us, completed_us, generation, commits, version
FROM belaypin_checkpoint
WHERE key_id = :key_id
ON CONFLICT (key_id, savepoint_id) DO NOTHING;

-- name: savepoint.segments
-- Runs of numbers that all belong to this generation: one, unless the stream was rewound before.
INSERT INTO belaypin_savepoint_span (key_id, savepoint_id, what, start_at, end_at)
SELECT key_id, :savepoint_id, 'seq', MIN(seq), MAX(seq)
FROM (
    SELECT key_id, seq, generation,
           ROW_NUMBER() OVER (ORDER BY seq)
           - ROW_NUMBER() OVER (PARTITION BY generation ORDER BY seq) AS run
    FROM belaypin_segment
    WHERE key_id = :key_id
) AS numbered
WHERE generation = :generation
GROUP BY key_id, run
ON CONFLICT (key_id, savepoint_id, what, start_at) DO NOTHING;

-- name: savepoint.coverage
INSERT INTO belaypin_savepoint_span (key_id, savepoint_id, what, start_at, end_at)
SELECT key_id, :savepoint_id, 'time', start_us, end_us
FROM belaypin_coverage
WHERE key_id = :key_id AND generation = :generation
ON CONFLICT (key_id, savepoint_id, what, start_at) DO NOTHING;

-- name: savepoint.barrier
-- The newest segment of any savepoint that the key still has; 0 without one.
UPDATE belaypin_checkpoint
SET barrier_seq = COALESCE((SELECT MAX(s.head_seq) FROM belaypin_savepoint_key AS s
                            WHERE s.key_id = belaypin_checkpoint.key_id), 0)
WHERE key_id = :key_id;

-- name: savepoint.stood
SELECT items, version, schema_version,
       CASE WHEN has_state = 1 AND NOT EXISTS (
           SELECT 1 FROM belaypin_history AS h
           WHERE h.key_id = belaypin_savepoint_key.key_id AND h.version = belaypin_savepoint_key.version
             AND h.schema_version = belaypin_savepoint_key.schema_version AND h.is_damaged = 0)
       THEN 1 ELSE 0 END AS is_lost,
       at_generation, at_commits, at_version, skipped, last_seen_us,
       (SELECT COUNT(*) FROM belaypin_failure AS f
        WHERE f.key_id = belaypin_savepoint_key.key_id AND f.generation = :failed_at) AS failures
FROM belaypin_savepoint_key
WHERE key_id = :key_id AND savepoint_id = :savepoint_id;

-- name: savepoint.stands
-- The Key is back where it stood: a rewind that is run again has nothing to do there.
UPDATE belaypin_savepoint_key
SET at_generation = c.generation, at_commits = c.commits, at_version = c.version
FROM belaypin_checkpoint AS c
WHERE belaypin_savepoint_key.key_id = :key_id AND savepoint_id = :savepoint_id AND c.key_id = :key_id;

-- name: savepoint.covered
SELECT start_at, end_at
FROM belaypin_savepoint_span
WHERE key_id = :key_id AND savepoint_id = :savepoint_id AND what = 'time'
ORDER BY start_at;

-- name: savepoint.drop_key
DELETE FROM belaypin_savepoint_key
WHERE key_id = :key_id AND savepoint_id = :savepoint_id;

-- name: savepoint.drop_spans
DELETE FROM belaypin_savepoint_span
WHERE key_id = :key_id AND savepoint_id = :savepoint_id;
