-- The audit: written in the transaction of what it tells of, read newest first.

-- name: audit.note
INSERT INTO belaypin_audit (at_us, actor, action, pipeline, entity, stream, detail)
VALUES ({now_us}, :actor, :action, :pipeline, :entity, :stream, :detail);

-- name: audit.list
-- Few and made by people: read backwards by number, not by an index of their keys.
SELECT audit_id, at_us, actor, action, pipeline, entity, stream, detail
FROM belaypin_audit
WHERE audit_id < :before AND (CAST(:actor AS TEXT) = '%%' OR LOWER(actor) LIKE :actor ESCAPE '!')
  AND (pipeline, entity, stream) >= (:pipeline, :entity, :stream)
  AND (pipeline, entity, stream) <= (:last_pipeline, :last_entity, :last_stream)
ORDER BY audit_id DESC
LIMIT :count;
