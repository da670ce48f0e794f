-- Exchange: what an export reads, and an import writes.

-- name: exchange.keys
SELECT key_id, pipeline, entity, stream, state,
       generation, commits, head_seq, progress, is_open, items, skipped, changed, late, stale, too_late,
        dropped,
       horizon_us, processor, revision, failures, attempts, priority, version, schema_version, content_hash,
       first_seen_us, last_seen_us, created_us, updated_us, completed_us, runs, busy_us, failed_runs, failed_us,
       failed_role, error, traceback, next_try_us, quarantined_us, quarantine_reason
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT :count;

-- name: exchange.leases
SELECT key_id, role, token
FROM belaypin_lease
WHERE key_id IN {ids}
ORDER BY key_id, role;

-- name: exchange.coverage
SELECT r.key_id, r.start_us, r.end_us
FROM belaypin_checkpoint AS c
JOIN belaypin_coverage AS r ON r.key_id = c.key_id AND r.generation = c.generation
WHERE c.key_id IN {ids}
ORDER BY r.key_id, r.start_us;

-- name: exchange.segments
SELECT r.key_id, r.seq, r.level, r.items, r.low, r.high, r.raw_bytes, r.token, r.created_us, r.newest_us,
       r.payload
FROM belaypin_checkpoint AS c
JOIN belaypin_segment AS r ON r.key_id = c.key_id AND r.generation = c.generation
WHERE c.key_id IN {ids}
ORDER BY r.key_id, r.seq;

-- name: exchange.failures
SELECT r.key_id, r.item_id, r.event_us, r.is_hole, r.status, r.attempts, r.next_try_us, r.error, r.traceback,
       r.fingerprint, r.payload, r.first_us, r.last_us, r.token
FROM belaypin_checkpoint AS c
JOIN belaypin_failure AS r ON r.key_id = c.key_id AND r.generation = c.generation
WHERE c.key_id IN {ids}
ORDER BY r.key_id, r.failure_id;

-- name: exchange.history
-- What was set aside as damaged can't be read, and stays.
SELECT key_id, state, version, schema_version, content_hash, saved_us, kept_us, token, reason
FROM belaypin_history
WHERE key_id IN {ids} AND is_damaged = 0
ORDER BY key_id, version, schema_version;

-- name: exchange.originals
SELECT key_id, state, schema_version, version, replaced_by, replaced_us
FROM belaypin_original
WHERE key_id IN {ids}
ORDER BY key_id, schema_version;

-- name: exchange.ids
SELECT key_id, entity, stream
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream);

-- name: exchange.add_key
INSERT INTO belaypin_checkpoint
       (pipeline, entity, stream, state, generation, commits, head_seq, progress, is_open, items, skipped,
        changed, late, stale, too_late,
        dropped, horizon_us, processor, revision, failures, attempts, priority, version, schema_version,
        content_hash, first_seen_us, last_seen_us, created_us, updated_us, completed_us, runs, busy_us,
        failed_runs, failed_us, failed_role, error, traceback, next_try_us, quarantined_us,
        quarantine_reason)
VALUES (:pipeline, :entity, :stream, :state, :generation, :commits, :head_seq, :progress, :is_open, :items,
        :skipped, :changed, :late, :stale,
        :too_late, :dropped, :horizon_us, :processor, :revision, :failures, :attempts, :priority, :version,
        :schema_version, :content_hash, :first_seen_us, :last_seen_us, :created_us, :updated_us,
        :completed_us, :runs, :busy_us, :failed_runs, :failed_us, :failed_role, :error, :traceback,
        :next_try_us, :quarantined_us, :quarantine_reason);

-- name: exchange.add_lease
-- Released, with the token that it had: the next one is larger, so nobody comes back with an older.
INSERT INTO belaypin_lease (key_id, role, owner, token, ttl_us, acquired_us, renewed_us, expires_us)
VALUES (:key_id, :role, 'nobody', :token, 1000000, {now_us}, {now_us}, 0);

-- name: exchange.add_segment
INSERT INTO belaypin_segment
    (key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, newest_us, payload)
VALUES (:key_id, :seq, :generation, :level, :items, :low, :high, :raw_bytes, :token, :created_us, :newest_us,
        :payload);

-- name: exchange.add_failure
INSERT INTO belaypin_failure (key_id, generation, item_id, event_us, is_hole, status, attempts, next_try_us,
        error,
                              traceback, fingerprint, payload, first_us, last_us, token)
VALUES (:key_id, :generation, :item_id, :event_us, :is_hole, :status, :attempts, :next_try_us, :error,
        :traceback, :fingerprint, :payload, :first_us, :last_us, :token);

-- name: exchange.add_history
INSERT INTO belaypin_history
    (key_id, version, schema_version, is_damaged, state, content_hash, saved_us, kept_us, token, reason)
VALUES (:key_id, :version, :schema_version, 0, :state, :content_hash, :saved_us, :kept_us, :token, :reason);

-- name: exchange.add_original
INSERT INTO belaypin_original (key_id, schema_version, version, state, replaced_by, replaced_us)
VALUES (:key_id, :schema_version, :version, :state, :replaced_by, :replaced_us);

-- name: exchange.mark
-- How far an import has come; held until the transaction ends.
SELECT value
FROM belaypin_meta
WHERE name = :name
{for_update};

-- name: exchange.put_mark
INSERT INTO belaypin_meta (name, value)
VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;
