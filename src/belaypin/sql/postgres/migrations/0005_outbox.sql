-- The outbox: messages that are enqueued in the transaction of the rows that they tell of.
CREATE TABLE belaypin_outbox (
    message_id   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic        TEXT COLLATE "C" NOT NULL,
    message_key  TEXT COLLATE "C" NOT NULL,       -- the idempotency key, the same on every attempt
    payload      BYTEA  NOT NULL,                 -- framed
    status       TEXT COLLATE "C" NOT NULL CHECK (status IN ('waiting', 'delivered', 'quarantined')),
    attempts     BIGINT NOT NULL DEFAULT 0,
    next_try_us  BIGINT NOT NULL,                 -- not before this
    owner        TEXT COLLATE "C",                -- of the newest claim
    token        BIGINT NOT NULL DEFAULT 0,       -- grows with each claim
    ttl_us       BIGINT NOT NULL DEFAULT 0,
    expires_us   BIGINT NOT NULL DEFAULT 0,       -- of the claim; 0 once it has ended
    error        TEXT,                            -- of the last attempt that failed
    created_us   BIGINT NOT NULL,
    delivered_us BIGINT,
    UNIQUE (topic, message_key)
);

-- What is delivered is most of the table, and is no part of what the workers look through.
CREATE INDEX belaypin_outbox_undelivered ON belaypin_outbox (topic, message_id)
WHERE status <> 'delivered';

CREATE INDEX belaypin_outbox_delivered ON belaypin_outbox (delivered_us)
WHERE delivered_us IS NOT NULL;

-- Payloads are compressed already: PostgreSQL need not try again.
ALTER TABLE belaypin_outbox ALTER COLUMN payload SET STORAGE EXTERNAL;
-- A claim updates a row but no indexed column: leave room for it on the page.
ALTER TABLE belaypin_outbox SET (fillfactor = 80);
