-- Operations: each attempt with its error, and results that may go while the fact stays.
CREATE TABLE belaypin_attempt (
    operation_id TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    owner        TEXT    NOT NULL,
    started_us   INTEGER NOT NULL,
    ended_us     INTEGER,                         -- NULL while it runs
    outcome      TEXT CHECK (outcome IN ('done', 'failed', 'lost')),
    error        TEXT,
    traceback    TEXT,
    PRIMARY KEY (operation_id, attempt)
) WITHOUT ROWID;

-- From when on the result counts as gone; NULL: it is kept for ever.
ALTER TABLE belaypin_operation ADD COLUMN result_expires_us INTEGER;

CREATE INDEX belaypin_operation_expiring ON belaypin_operation (result_expires_us)
WHERE result_expires_us IS NOT NULL AND result IS NOT NULL;
