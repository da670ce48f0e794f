-- Parts: where a range of keys is cut, so that it can be read bit by bit.

-- name: parts.cut
-- The entity in which the part ends; none: the rest is one part.
SELECT pipeline, entity
FROM belaypin_checkpoint
WHERE (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT 1 OFFSET :keys;

-- name: read.pause
-- See program.PAUSE.
SELECT 1;
