-- The store as DESIGN lays it: one row per Key, one per lease, packed segments, coalesced coverage.
-- Times are microseconds since 1970-01-01 UTC. Keys are columns, never joined text.

-- One row per store: which store this is (a copy or a restore gets a new epoch).
CREATE TABLE belaypin_meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row per Key: entity and stream are '' where the Key is not that deep.
CREATE TABLE belaypin_checkpoint (
    key_id          INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline        TEXT    NOT NULL,
    entity          TEXT    NOT NULL,
    stream          TEXT    NOT NULL,
    generation      INTEGER NOT NULL DEFAULT 1,   -- grows when history is rewound: older facts no longer count
    commits         INTEGER NOT NULL DEFAULT 0,   -- of pages
    commit_id       TEXT,                         -- of the newest commit: tells whether a lost COMMIT took place
    head_seq        INTEGER NOT NULL DEFAULT 0,   -- of the newest segment: tells a writer that others appended
    progress        TEXT    NOT NULL DEFAULT '{}',-- the open window of each role, with its cursor
    items           INTEGER NOT NULL DEFAULT 0,
    skipped         INTEGER NOT NULL DEFAULT 0,
    changed         INTEGER NOT NULL DEFAULT 0,
    late            INTEGER NOT NULL DEFAULT 0,
    attempts        INTEGER NOT NULL DEFAULT 0,   -- leases taken on it
    version         INTEGER NOT NULL DEFAULT 0,   -- of the state and of the content
    state           BLOB,                         -- framed, see codec.py
    schema_version  INTEGER NOT NULL DEFAULT 0,
    content_hash    TEXT,                         -- spec:algorithm:digest
    first_seen_us   INTEGER,
    last_seen_us    INTEGER,
    created_us      INTEGER NOT NULL,
    updated_us      INTEGER NOT NULL,
    completed_us    INTEGER,
    UNIQUE (pipeline, entity, stream)
);

-- A lease row is never deleted: its token must grow for ever.
CREATE TABLE belaypin_lease (
    key_id      INTEGER NOT NULL,
    role        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    token       INTEGER NOT NULL,
    ttl_us      INTEGER NOT NULL,
    acquired_us INTEGER NOT NULL,
    renewed_us  INTEGER NOT NULL,
    expires_us  INTEGER NOT NULL,                 -- 0 once released
    PRIMARY KEY (key_id, role)
) WITHOUT ROWID;

-- The packed ledger: the item ids of one commit, or of several merged, in one row.
CREATE TABLE belaypin_segment (
    key_id     INTEGER NOT NULL,
    seq        INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    level      INTEGER NOT NULL,                  -- how often its ids were merged
    items      INTEGER NOT NULL,
    low        BLOB    NOT NULL,                  -- order keys of the first and last id
    high       BLOB    NOT NULL,
    raw_bytes  INTEGER NOT NULL,
    token      INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    payload    BLOB    NOT NULL,                  -- framed, see segments.py
    PRIMARY KEY (key_id, seq)
) WITHOUT ROWID;

-- Half-open intervals [start_us, end_us) of event time that are wholly processed; none touch.
CREATE TABLE belaypin_coverage (
    key_id     INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    start_us   INTEGER NOT NULL,
    end_us     INTEGER NOT NULL,
    PRIMARY KEY (key_id, generation, start_us)
) WITHOUT ROWID;

CREATE TABLE belaypin_operation (
    operation_id TEXT    PRIMARY KEY,
    request      TEXT,                            -- fingerprint of the request
    status       TEXT    NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    owner        TEXT    NOT NULL,
    token        INTEGER NOT NULL,                -- grows with each attempt
    attempts     INTEGER NOT NULL,
    ttl_us       INTEGER NOT NULL,
    expires_us   INTEGER NOT NULL,
    result       BLOB,                            -- framed
    error        TEXT,
    created_us   INTEGER NOT NULL,
    updated_us   INTEGER NOT NULL,
    completed_us INTEGER
) WITHOUT ROWID;
