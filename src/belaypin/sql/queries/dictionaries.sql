-- Dictionaries: trained from some states of a kind, for all that are saved from then on.

-- name: dictionary.read
SELECT pipeline, stream, payload
FROM belaypin_dictionary
WHERE dictionary_id = :dictionary_id;

-- name: dictionary.of_kind
SELECT dictionary_id
FROM belaypin_dictionary
WHERE pipeline = :pipeline AND stream = :stream
ORDER BY created_us DESC, dictionary_id DESC
LIMIT 1;

-- name: dictionary.recompress
-- The same state in fewer bytes: neither its version nor its time moves. Whoever has saved another one
-- meanwhile has saved it with the dictionary.
UPDATE belaypin_checkpoint
SET state = :state
WHERE key_id = :key_id AND state = :was
RETURNING key_id;

-- name: dictionary.add
-- One that was trained before is made the newest again.
INSERT INTO belaypin_dictionary (dictionary_id, pipeline, stream, samples, created_us, payload)
VALUES (:dictionary_id, :pipeline, :stream, :samples, {now_us}, :payload)
ON CONFLICT (dictionary_id) DO UPDATE SET
    samples = excluded.samples,
    created_us = excluded.created_us,
    payload = excluded.payload;

-- name: dictionary.list
SELECT dictionary_id
FROM belaypin_dictionary
WHERE dictionary_id > :after
ORDER BY dictionary_id
LIMIT :limit;

-- name: dictionary.span
SELECT MIN(key_id), MAX(key_id)
FROM belaypin_checkpoint;

-- name: dictionary.sample
-- Small states of one kind from a stretch of keys. They stand by key_id in the order of their making,
-- so that some from each stretch are a fair sample; an entity of '' is the pipeline's own state.
SELECT key_id, state
FROM belaypin_checkpoint
WHERE key_id >= :first_id AND key_id < :beyond_id AND pipeline = :pipeline AND stream = :stream
  AND entity <> '' AND LENGTH(state) <= :most_bytes
ORDER BY key_id
LIMIT :row_limit;
