-- Compaction: small segments of a stream are packed into full ones, under the stream row's lock.

-- name: compaction.streams
-- Streams with small segments, in key order.
SELECT pipeline, entity, stream, key_id
FROM belaypin_checkpoint AS c
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
  AND (SELECT COUNT(*) FROM belaypin_segment AS s
       WHERE s.key_id = c.key_id AND s.generation = c.generation AND s.seq > c.barrier_seq
         AND s.items < :full_items) > 1
ORDER BY pipeline, entity, stream
LIMIT :limit;

-- name: compaction.segments
-- What belongs to a savepoint keeps its numbers: the savepoint goes by them.
SELECT seq, level, items, low, newest_us, LENGTH(payload) AS size
FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation
  AND seq > (SELECT c.barrier_seq FROM belaypin_checkpoint AS c WHERE c.key_id = :key_id)
ORDER BY seq;

-- name: compaction.take
-- All segments with ids of one type in a range: `low` begins with that type.
DELETE FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation AND seq >= :first_seq AND seq <= :last_seq
  AND low >= :kind AND low < :next_kind
RETURNING seq, level, token, created_us, newest_us, payload;

-- name: compaction.renumber
-- What is newer has to keep its place behind: the newest fingerprint of an id is the one that counts.
-- New numbers, as no number may ever name other ids than those that a worker has learned by it.
UPDATE belaypin_segment
SET seq = seq + :shift
WHERE key_id = :key_id AND generation = :generation AND seq > :last_seq AND seq <= :beyond
  AND low >= :kind AND low < :next_kind;

-- name: compaction.put
INSERT INTO belaypin_segment
    (key_id, seq, generation, level, items, low, high, raw_bytes, token, created_us, payload, newest_us)
VALUES (:key_id, :seq, :generation, :level, :items, :low, :high, :raw_bytes, :token, :created_us, :payload,
        :newest_us);

-- name: compaction.tell
-- The head moves, so that live workers list the stream's segments anew.
UPDATE belaypin_checkpoint
SET head_seq = :head_seq
WHERE key_id = :key_id;

-- name: compaction.look
SELECT generation, head_seq, horizon_us
FROM belaypin_checkpoint
WHERE key_id = :key_id;
