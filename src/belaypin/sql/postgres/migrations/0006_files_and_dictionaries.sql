-- File sinks: the manifest of what they wrote, one row per file, made by the commit that its rows belong to.
CREATE TABLE belaypin_file (
    sink       TEXT COLLATE "C" NOT NULL,   -- its name and format
    name       TEXT COLLATE "C" NOT NULL,   -- in the sink's directory
    part       TEXT COLLATE "C" NOT NULL,   -- its name there as long as it was not committed
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('ready', 'final')),  -- final: it surely has its name
    key_id     BIGINT NOT NULL,
    generation BIGINT NOT NULL,    -- of the key, when it was written
    row_count  BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    sha256     TEXT COLLATE "C" NOT NULL,   -- hexadecimal
    created_us BIGINT NOT NULL,
    PRIMARY KEY (sink, name)
);

-- Few at any time: the last file of each worker, and those of workers that died.
CREATE INDEX belaypin_file_ready ON belaypin_file (sink, name) WHERE state = 'ready';

-- Trained dictionaries for small states of one kind. A row is never deleted: states need it to be read.
CREATE TABLE belaypin_dictionary (
    dictionary_id BIGINT PRIMARY KEY,  -- of its kind and content, see dictionaries.py
    pipeline      TEXT COLLATE "C" NOT NULL,
    stream        TEXT COLLATE "C" NOT NULL,
    samples       BIGINT NOT NULL,
    created_us    BIGINT NOT NULL,     -- the newest of a kind is the one that states are saved with
    payload       BYTEA NOT NULL     -- framed
);

CREATE INDEX belaypin_dictionary_kind ON belaypin_dictionary (pipeline, stream, created_us);
