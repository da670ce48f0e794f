-- Time travel: the states that others replaced, and savepoints that a Key can be taken back to.
CREATE TABLE belaypin_history (
    key_id         BIGINT NOT NULL,
    version        BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    is_damaged     BIGINT NOT NULL DEFAULT 0,    -- 1: set aside by a repair, whatever else is kept of the version
    state          BYTEA   NOT NULL,             -- framed, byte for byte as it was
    content_hash   TEXT COLLATE "C",
    saved_us       BIGINT NOT NULL,              -- when it was written
    kept_us        BIGINT NOT NULL,              -- when it was put here
    token          BIGINT,                       -- of the lease that replaced it; NULL outside one
    reason         TEXT COLLATE "C"    NOT NULL, -- why it was kept: replaced, upcast, savepoint, rewind, reset, repair
    PRIMARY KEY (key_id, version, schema_version, is_damaged)
);

-- A savepoint of an entity, or of a pipeline (entity ''), which is taken entity by entity.
CREATE TABLE belaypin_savepoint (
    savepoint_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline     TEXT COLLATE "C"    NOT NULL,
    entity       TEXT COLLATE "C"    NOT NULL,
    name         TEXT COLLATE "C"    NOT NULL,
    note         TEXT COLLATE "C"    NOT NULL,
    entities     BIGINT NOT NULL DEFAULT 0,      -- how many it has so far
    saved_to     TEXT COLLATE "C",               -- the last entity that it has; NULL: none yet
    is_dropped   BIGINT NOT NULL DEFAULT 0,      -- 1: it is being dropped
    created_us   BIGINT NOT NULL,
    finished_us  BIGINT,                         -- NULL: not whole yet, and no rewind goes there
    UNIQUE (pipeline, entity, name)
);

-- How a Key stood; its state is the version in belaypin_history.
CREATE TABLE belaypin_savepoint_key (
    key_id         BIGINT NOT NULL,
    savepoint_id   BIGINT NOT NULL,
    generation     BIGINT NOT NULL,
    head_seq       BIGINT NOT NULL,
    progress       TEXT COLLATE "C"    NOT NULL,
    items          BIGINT NOT NULL,
    skipped        BIGINT NOT NULL,
    changed        BIGINT NOT NULL,
    late           BIGINT NOT NULL,
    stale          BIGINT NOT NULL,
    too_late       BIGINT NOT NULL,
    dropped        BIGINT NOT NULL,
    processor      BIGINT NOT NULL,
    revision       BIGINT,
    version        BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,
    has_state      BIGINT NOT NULL,
    content_hash   TEXT COLLATE "C",
    first_seen_us  BIGINT,
    last_seen_us   BIGINT,
    completed_us   BIGINT,
    at_generation  BIGINT NOT NULL,              -- where it stands as long as it stands just there, also after a rewind
    at_commits     BIGINT NOT NULL,
    at_version     BIGINT NOT NULL,
    PRIMARY KEY (key_id, savepoint_id)
);

-- Which segments it had, as ranges of their numbers (both ends included), and its coverage.
CREATE TABLE belaypin_savepoint_span (
    key_id       BIGINT NOT NULL,
    savepoint_id BIGINT NOT NULL,
    what         TEXT COLLATE "C"    NOT NULL,   -- seq or time
    start_at     BIGINT NOT NULL,
    end_at       BIGINT NOT NULL,
    PRIMARY KEY (key_id, savepoint_id, what, start_at)
);

-- A fork of a pipeline, made entity by entity: where it goes on if it was interrupted.
CREATE TABLE belaypin_fork (
    pipeline    TEXT COLLATE "C"    PRIMARY KEY, -- the new one
    source      TEXT COLLATE "C"    NOT NULL,
    copied_to   TEXT COLLATE "C",                -- the last entity that was copied; NULL: none yet
    started_us  BIGINT NOT NULL,
    finished_us BIGINT
);

-- Segments up to this one belong to a savepoint: they are not merged with later ones.
ALTER TABLE belaypin_checkpoint ADD COLUMN barrier_seq BIGINT NOT NULL DEFAULT 0;

-- Payloads are compressed already: PostgreSQL need not try again.
ALTER TABLE belaypin_history ALTER COLUMN state SET STORAGE EXTERNAL;
