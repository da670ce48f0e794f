-- Drills: a row for each, written by people's acts, so there are few.

-- name: drill.keep
INSERT INTO belaypin_drill (pipeline, at_us, kills, lost, doubled, recovery_p50_us, recovery_p99_us)
VALUES (:pipeline, {now_us}, :kills, :lost, :doubled, :median_us, :slow_us)
RETURNING pipeline, at_us, kills, lost, doubled, recovery_p50_us, recovery_p99_us;

-- name: drill.newest
SELECT pipeline, at_us, kills, lost, doubled, recovery_p50_us, recovery_p99_us
FROM belaypin_drill
WHERE pipeline = :pipeline
ORDER BY drill_id DESC
LIMIT :limit;

-- name: drill.newest_of_all
SELECT pipeline, at_us, kills, lost, doubled, recovery_p50_us, recovery_p99_us
FROM belaypin_drill
ORDER BY drill_id DESC
LIMIT :limit;
