-- Time travel: the states that others replaced, and savepoints that a Key can be taken back to.
CREATE TABLE belaypin_history (
    key_id         INTEGER NOT NULL,
    version        INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    is_damaged     INTEGER NOT NULL DEFAULT 0,   -- 1: set aside by a repair, whatever else is kept of the version
    state          BLOB    NOT NULL,             -- framed, byte for byte as it was
    content_hash   TEXT,
    saved_us       INTEGER NOT NULL,             -- when it was written
    kept_us        INTEGER NOT NULL,             -- when it was put here
    token          INTEGER,                      -- of the lease that replaced it; NULL outside one
    reason         TEXT    NOT NULL,             -- why it was kept: replaced, upcast, savepoint, rewind, reset, repair
    PRIMARY KEY (key_id, version, schema_version, is_damaged)
) WITHOUT ROWID;

-- A savepoint of an entity, or of a pipeline (entity ''), which is taken entity by entity.
CREATE TABLE belaypin_savepoint (
    savepoint_id INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline     TEXT    NOT NULL,
    entity       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    note         TEXT    NOT NULL,
    entities     INTEGER NOT NULL DEFAULT 0,     -- how many it has so far
    saved_to     TEXT,                           -- the last entity that it has; NULL: none yet
    is_dropped   INTEGER NOT NULL DEFAULT 0,     -- 1: it is being dropped
    created_us   INTEGER NOT NULL,
    finished_us  INTEGER,                        -- NULL: not whole yet, and no rewind goes there
    UNIQUE (pipeline, entity, name)
);

-- How a Key stood; its state is the version in belaypin_history.
CREATE TABLE belaypin_savepoint_key (
    key_id         INTEGER NOT NULL,
    savepoint_id   INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    head_seq       INTEGER NOT NULL,
    progress       TEXT    NOT NULL,
    items          INTEGER NOT NULL,
    skipped        INTEGER NOT NULL,
    changed        INTEGER NOT NULL,
    late           INTEGER NOT NULL,
    stale          INTEGER NOT NULL,
    too_late       INTEGER NOT NULL,
    dropped        INTEGER NOT NULL,
    processor      INTEGER NOT NULL,
    revision       INTEGER,
    version        INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    has_state      INTEGER NOT NULL,
    content_hash   TEXT,
    first_seen_us  INTEGER,
    last_seen_us   INTEGER,
    completed_us   INTEGER,
    at_generation  INTEGER NOT NULL,             -- where it stands as long as it stands just there, also after a rewind
    at_commits     INTEGER NOT NULL,
    at_version     INTEGER NOT NULL,
    PRIMARY KEY (key_id, savepoint_id)
) WITHOUT ROWID;

-- Which segments it had, as ranges of their numbers (both ends included), and its coverage.
CREATE TABLE belaypin_savepoint_span (
    key_id       INTEGER NOT NULL,
    savepoint_id INTEGER NOT NULL,
    what         TEXT    NOT NULL,               -- seq or time
    start_at     INTEGER NOT NULL,
    end_at       INTEGER NOT NULL,
    PRIMARY KEY (key_id, savepoint_id, what, start_at)
) WITHOUT ROWID;

-- A fork of a pipeline, made entity by entity: where it goes on if it was interrupted.
CREATE TABLE belaypin_fork (
    pipeline    TEXT    PRIMARY KEY,             -- the new one
    source      TEXT    NOT NULL,
    copied_to   TEXT,                            -- the last entity that was copied; NULL: none yet
    started_us  INTEGER NOT NULL,
    finished_us INTEGER
) WITHOUT ROWID;

-- Segments up to this one belong to a savepoint: they are not merged with later ones.
ALTER TABLE belaypin_checkpoint ADD COLUMN barrier_seq INTEGER NOT NULL DEFAULT 0;
