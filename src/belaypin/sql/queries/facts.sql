-- Facts: which ids are committed, and which segment proves it; what a cache is checked against.

-- name: fact.standing
SELECT key_id, generation
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND entity = :entity AND stream = :stream;

-- name: fact.segments
-- Newest first: what was committed last is what is asked for most.
SELECT seq, token, created_us, low, high
FROM belaypin_segment
WHERE key_id = :key_id AND generation = :generation AND seq >= :first_seq AND seq <= :last_seq
ORDER BY seq DESC;
