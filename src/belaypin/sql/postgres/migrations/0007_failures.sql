-- Failing items: put aside with what they need to be tried again, as explicit holes in the stream.
CREATE TABLE belaypin_failure (
    failure_id  BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id      BIGINT NOT NULL,
    generation  BIGINT NOT NULL,
    item_id     TEXT COLLATE "C" NOT NULL,        -- behind its type: i7, stext; ?print if it is unknown
    event_us    BIGINT,                           -- NULL: the item has no known event time
    is_hole     BIGINT NOT NULL DEFAULT 0,        -- 1: its instant was cut out of the coverage
    status      TEXT COLLATE "C" NOT NULL CHECK (status IN ('waiting', 'quarantined')),
    attempts    BIGINT NOT NULL,
    next_try_us BIGINT NOT NULL,
    error       TEXT   NOT NULL,
    traceback   TEXT   NOT NULL,
    fingerprint BYTEA,                            -- of the content that failed, where content is compared
    payload     BYTEA,                            -- the item, framed; NULL: put aside by hand, not seen since
    first_us    BIGINT NOT NULL,
    last_us     BIGINT NOT NULL,
    token       BIGINT NOT NULL,
    UNIQUE (key_id, generation, item_id)
);
CREATE INDEX belaypin_failure_event ON belaypin_failure (key_id, generation, event_us);

-- Payloads are compressed already: PostgreSQL need not try again.
ALTER TABLE belaypin_failure ALTER COLUMN payload SET STORAGE EXTERNAL;

-- How many of these a stream has: with none, no commit need look for them.
ALTER TABLE belaypin_checkpoint ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;

-- Takeovers in a row of a lease that its holder had not released: it died, or was taken for dead.
ALTER TABLE belaypin_lease ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0;

-- What a worker that follows a dead one has in hand: written before it is handed out.
CREATE TABLE belaypin_suspect (
    key_id BIGINT NOT NULL,
    role   TEXT COLLATE "C" NOT NULL,
    deaths BIGINT NOT NULL,                       -- of workers that were handed the next page
    kills  TEXT   NOT NULL,                       -- JSON: items that were in hand alone when a worker died
    PRIMARY KEY (key_id, role)
);
