-- Failing items: put aside with what they need to be tried again, as explicit holes in the stream.
CREATE TABLE belaypin_failure (
    failure_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id      INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    item_id     TEXT    NOT NULL,                 -- behind its type: i7, stext; ?print if it is unknown
    event_us    INTEGER,                          -- NULL: the item has no known event time
    is_hole     INTEGER NOT NULL DEFAULT 0,       -- 1: its instant was cut out of the coverage
    status      TEXT    NOT NULL CHECK (status IN ('waiting', 'quarantined')),
    attempts    INTEGER NOT NULL,
    next_try_us INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    traceback   TEXT    NOT NULL,
    fingerprint BLOB,                             -- of the content that failed, where content is compared
    payload     BLOB,                             -- the item, framed; NULL: put aside by hand, not seen since
    first_us    INTEGER NOT NULL,
    last_us     INTEGER NOT NULL,
    token       INTEGER NOT NULL,
    UNIQUE (key_id, generation, item_id)
);
CREATE INDEX belaypin_failure_event ON belaypin_failure (key_id, generation, event_us);

-- How many of these a stream has: with none, no commit need look for them.
ALTER TABLE belaypin_checkpoint ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- Takeovers in a row of a lease that its holder had not released: it died, or was taken for dead.
ALTER TABLE belaypin_lease ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;

-- What a worker that follows a dead one has in hand: written before it is handed out.
CREATE TABLE belaypin_suspect (
    key_id INTEGER NOT NULL,
    role   TEXT    NOT NULL,
    deaths INTEGER NOT NULL,                      -- of workers that were handed the next page
    kills  TEXT    NOT NULL,                      -- JSON: items that were in hand alone when a worker died
    PRIMARY KEY (key_id, role)
) WITHOUT ROWID;
