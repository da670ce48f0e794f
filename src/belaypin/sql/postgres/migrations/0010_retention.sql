-- Retention: the event time below which a stream takes nothing in any more, and figures over time.

-- Grows only. Below the year 1 nothing lies: no horizon.
ALTER TABLE belaypin_checkpoint ADD COLUMN horizon_us BIGINT NOT NULL DEFAULT -62135596800000000;
ALTER TABLE belaypin_checkpoint ADD COLUMN too_late BIGINT NOT NULL DEFAULT 0;
-- Ids of the ledger that were dropped, as they lie below the horizon.
ALTER TABLE belaypin_checkpoint ADD COLUMN dropped BIGINT NOT NULL DEFAULT 0;

-- The newest event time among its items; NULL: unknown, so it is never dropped.
ALTER TABLE belaypin_segment ADD COLUMN newest_us BIGINT;

-- Samples of store.health(), at most one for each slot of time.
CREATE TABLE belaypin_health (
    pipeline TEXT COLLATE "C" NOT NULL,          -- '' for the whole store
    slot_us  BIGINT           NOT NULL,          -- when the slot begins
    at_us    BIGINT           NOT NULL,
    figures  TEXT             NOT NULL,          -- a JSON object; what is 0 or unknown is left out
    PRIMARY KEY (pipeline, slot_us)
);
