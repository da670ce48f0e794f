-- Operations: each attempt with its error, and results that may go while the fact stays.
CREATE TABLE belaypin_attempt (
    operation_id TEXT COLLATE "C" NOT NULL,
    attempt      BIGINT NOT NULL,
    owner        TEXT COLLATE "C" NOT NULL,
    started_us   BIGINT NOT NULL,
    ended_us     BIGINT,                          -- NULL while it runs
    outcome      TEXT COLLATE "C" CHECK (outcome IN ('done', 'failed', 'lost')),
    error        TEXT,
    traceback    TEXT,
    PRIMARY KEY (operation_id, attempt)
);

-- From when on the result counts as gone; NULL: it is kept for ever.
ALTER TABLE belaypin_operation ADD COLUMN result_expires_us BIGINT;

CREATE INDEX belaypin_operation_expiring ON belaypin_operation (result_expires_us)
WHERE result_expires_us IS NOT NULL AND result IS NOT NULL;
