-- The store as DESIGN lays it: one row per Key, one per lease, packed segments, coalesced coverage.
-- Times are microseconds since 1970-01-01 UTC. Keys are columns, never joined text.

-- One row per store: which store this is (a copy or a restore gets a new epoch).
CREATE TABLE belaypin_meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- One row per Key: entity and stream are '' where the Key is not that deep.
CREATE TABLE belaypin_checkpoint (
    key_id          BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline        TEXT COLLATE "C"    NOT NULL,
    entity          TEXT COLLATE "C"    NOT NULL,
    stream          TEXT COLLATE "C"    NOT NULL,
    generation      BIGINT NOT NULL DEFAULT 1,   -- grows when history is rewound: older facts no longer count
    commits         BIGINT NOT NULL DEFAULT 0,   -- of pages
    commit_id       TEXT,                         -- of the newest commit: tells whether a lost COMMIT took place
    head_seq        BIGINT NOT NULL DEFAULT 0,   -- of the newest segment: tells a writer that others appended
    progress        TEXT COLLATE "C"    NOT NULL DEFAULT '{}',-- the open window of each role, with its cursor
    items           BIGINT NOT NULL DEFAULT 0,
    skipped         BIGINT NOT NULL DEFAULT 0,
    changed         BIGINT NOT NULL DEFAULT 0,
    late            BIGINT NOT NULL DEFAULT 0,
    attempts        BIGINT NOT NULL DEFAULT 0,   -- leases taken on it
    version         BIGINT NOT NULL DEFAULT 0,   -- of the state and of the content
    state           BYTEA,                         -- framed, see codec.py
    schema_version  BIGINT NOT NULL DEFAULT 0,
    content_hash    TEXT,                         -- spec:algorithm:digest
    first_seen_us   BIGINT,
    last_seen_us    BIGINT,
    created_us      BIGINT NOT NULL,
    updated_us      BIGINT NOT NULL,
    completed_us    BIGINT,
    UNIQUE (pipeline, entity, stream)
);

-- A lease row is never deleted: its token must grow for ever.
CREATE TABLE belaypin_lease (
    key_id      BIGINT NOT NULL,
    role        TEXT COLLATE "C"    NOT NULL,
    owner       TEXT COLLATE "C"    NOT NULL,
    token       BIGINT NOT NULL,
    ttl_us      BIGINT NOT NULL,
    acquired_us BIGINT NOT NULL,
    renewed_us  BIGINT NOT NULL,
    expires_us  BIGINT NOT NULL,                 -- 0 once released
    PRIMARY KEY (key_id, role)
);

-- The packed ledger: the item ids of one commit, or of several merged, in one row.
CREATE TABLE belaypin_segment (
    key_id     BIGINT NOT NULL,
    seq        BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    level      BIGINT NOT NULL,                  -- how often its ids were merged
    items      BIGINT NOT NULL,
    low        BYTEA   NOT NULL,                  -- order keys of the first and last id
    high       BYTEA   NOT NULL,
    raw_bytes  BIGINT NOT NULL,
    token      BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    payload    BYTEA   NOT NULL,                  -- framed, see segments.py
    PRIMARY KEY (key_id, seq)
);

-- Half-open intervals [start_us, end_us) of event time that are wholly processed; none touch.
CREATE TABLE belaypin_coverage (
    key_id     BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    start_us   BIGINT NOT NULL,
    end_us     BIGINT NOT NULL,
    PRIMARY KEY (key_id, generation, start_us)
);

CREATE TABLE belaypin_operation (
    operation_id TEXT COLLATE "C"    PRIMARY KEY,
    request      TEXT,                            -- fingerprint of the request
    status       TEXT COLLATE "C"    NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    owner        TEXT COLLATE "C"    NOT NULL,
    token        BIGINT NOT NULL,                -- grows with each attempt
    attempts     BIGINT NOT NULL,
    ttl_us       BIGINT NOT NULL,
    expires_us   BIGINT NOT NULL,
    result       BYTEA,                            -- framed
    error        TEXT,
    created_us   BIGINT NOT NULL,
    updated_us   BIGINT NOT NULL,
    completed_us BIGINT
);

-- Payloads are compressed already: PostgreSQL need not try again.
ALTER TABLE belaypin_segment ALTER COLUMN payload SET STORAGE EXTERNAL;
ALTER TABLE belaypin_checkpoint ALTER COLUMN state SET STORAGE EXTERNAL;
-- These rows are updated at every commit, never on an indexed column: leave room for it on the page.
ALTER TABLE belaypin_checkpoint SET (fillfactor = 70);
ALTER TABLE belaypin_lease SET (fillfactor = 70);
