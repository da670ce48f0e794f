-- Recovery: what a plan must know of an entity, on the entity's own row, written when a lease is taken or ends.
ALTER TABLE belaypin_checkpoint ADD COLUMN idle_attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN idle_mark BIGINT NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN runs BIGINT NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN busy_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN failed_runs BIGINT NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN failed_us BIGINT;
ALTER TABLE belaypin_checkpoint ADD COLUMN failed_role TEXT COLLATE "C";
ALTER TABLE belaypin_checkpoint ADD COLUMN error TEXT;
ALTER TABLE belaypin_checkpoint ADD COLUMN traceback TEXT;
ALTER TABLE belaypin_checkpoint ADD COLUMN next_try_us BIGINT;
ALTER TABLE belaypin_checkpoint ADD COLUMN quarantined_us BIGINT;
ALTER TABLE belaypin_checkpoint ADD COLUMN quarantine_reason TEXT;
ALTER TABLE belaypin_checkpoint ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;

-- Of a stream: whether a window of it is open. It changes when the first one opens and the last one closes,
-- never in between, so that the index below costs a page nothing.
ALTER TABLE belaypin_checkpoint ADD COLUMN is_open BIGINT NOT NULL DEFAULT 0;
UPDATE belaypin_checkpoint SET is_open = 1 WHERE progress <> '{}';

-- A plan reads what is open, failing, leased or unfinished, however much more there is.
CREATE INDEX belaypin_checkpoint_open ON belaypin_checkpoint (pipeline, entity) WHERE is_open = 1;
CREATE INDEX belaypin_checkpoint_failing ON belaypin_checkpoint (pipeline, entity) WHERE failed_us IS NOT NULL;
CREATE INDEX belaypin_checkpoint_quarantined ON belaypin_checkpoint (pipeline, entity)
WHERE quarantined_us IS NOT NULL;
CREATE INDEX belaypin_lease_expiry ON belaypin_lease (expires_us) WHERE expires_us <> 0;
CREATE INDEX belaypin_operation_unfinished ON belaypin_operation (operation_id) WHERE status <> 'done';
