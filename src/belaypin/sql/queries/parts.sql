-- Parts: where a range of keys is cut, so that it can be read bit by bit.
--
-- Every part lies within one pipeline. PostgreSQL finds the beginning of a range of (pipeline, entity,
-- stream) by the index, but ends it by the first column alone: it would read on to the pipeline's end.

-- name: parts.pipeline
-- The first pipeline of a range.
SELECT MIN(pipeline)
FROM belaypin_checkpoint
WHERE pipeline >= :pipeline AND pipeline <= :last_pipeline;

-- name: parts.cut
-- The entity in which the part ends; none: the rest is one part.
SELECT entity
FROM belaypin_checkpoint
WHERE pipeline = :pipeline AND (entity, stream) >= (:entity, :stream)
  AND (entity, stream) <= (:last_entity, :last_stream)
ORDER BY pipeline, entity, stream
LIMIT 1 OFFSET :keys;

-- name: read.pause
-- See program.PAUSE.
SELECT 1;
