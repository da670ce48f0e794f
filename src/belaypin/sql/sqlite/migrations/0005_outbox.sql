-- The outbox: messages that are enqueued in the transaction of the rows that they tell of.
CREATE TABLE belaypin_outbox (
    message_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    topic        TEXT    NOT NULL,
    message_key  TEXT    NOT NULL,                -- the idempotency key, the same on every attempt
    payload      BLOB    NOT NULL,                -- framed
    status       TEXT    NOT NULL CHECK (status IN ('waiting', 'delivered', 'quarantined')),
    attempts     INTEGER NOT NULL DEFAULT 0,
    next_try_us  INTEGER NOT NULL,                -- not before this
    owner        TEXT,                            -- of the newest claim
    token        INTEGER NOT NULL DEFAULT 0,      -- grows with each claim
    ttl_us       INTEGER NOT NULL DEFAULT 0,
    expires_us   INTEGER NOT NULL DEFAULT 0,      -- of the claim; 0 once it has ended
    error        TEXT,                            -- of the last attempt that failed
    created_us   INTEGER NOT NULL,
    delivered_us INTEGER,
    UNIQUE (topic, message_key)
);

-- What is delivered is most of the table, and is no part of what the workers look through.
CREATE INDEX belaypin_outbox_undelivered ON belaypin_outbox (topic, message_id)
WHERE status <> 'delivered';

CREATE INDEX belaypin_outbox_delivered ON belaypin_outbox (delivered_us)
WHERE delivered_us IS NOT NULL;
