-- Coverage: coalesced half-open intervals of event time, changed only under the stream row's lock.

-- name: coverage.list
SELECT start_us, end_us
FROM belaypin_coverage
WHERE key_id = :key_id AND generation = :generation
ORDER BY start_us;

-- name: coverage.touching
-- Intervals that overlap [start_us, end_us) or end or begin at its edge: they become one with it.
SELECT start_us, end_us
FROM belaypin_coverage
WHERE key_id = :key_id AND generation = :generation AND start_us <= :end_us AND end_us >= :start_us
ORDER BY start_us;

-- name: coverage.delete
DELETE FROM belaypin_coverage
WHERE key_id = :key_id AND generation = :generation AND start_us = :start_us;

-- name: coverage.insert
INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us)
VALUES (:key_id, :generation, :start_us, :end_us);

-- name: coverage.move
-- Most windows follow the one before: its interval grows.
UPDATE belaypin_coverage
SET end_us = :end_us
WHERE key_id = :key_id AND generation = :generation AND start_us = :start_us;
