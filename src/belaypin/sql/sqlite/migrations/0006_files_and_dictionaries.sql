-- File sinks: the manifest of what they wrote, one row per file, made by the commit that its rows belong to.
CREATE TABLE belaypin_file (
    sink       TEXT NOT NULL,   -- its name and format
    name       TEXT NOT NULL,   -- in the sink's directory
    part       TEXT NOT NULL,   -- its name there as long as it was not committed
    state      TEXT NOT NULL CHECK (state IN ('ready', 'final')),  -- final: it surely has its name
    key_id     INTEGER NOT NULL,
    generation INTEGER NOT NULL,    -- of the key, when it was written
    row_count  INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    sha256     TEXT NOT NULL,   -- hexadecimal
    created_us INTEGER NOT NULL,
    PRIMARY KEY (sink, name)
) WITHOUT ROWID;

-- Few at any time: the last file of each worker, and those of workers that died.
CREATE INDEX belaypin_file_ready ON belaypin_file (sink, name) WHERE state = 'ready';

-- Trained dictionaries for small states of one kind. A row is never deleted: states need it to be read.
CREATE TABLE belaypin_dictionary (
    dictionary_id INTEGER PRIMARY KEY,  -- of its kind and content, see dictionaries.py
    pipeline      TEXT NOT NULL,
    stream        TEXT NOT NULL,
    samples       INTEGER NOT NULL,
    created_us    INTEGER NOT NULL,     -- the newest of a kind is the one that states are saved with
    payload       BLOB NOT NULL     -- framed
);

CREATE INDEX belaypin_dictionary_kind ON belaypin_dictionary (pipeline, stream, created_us);
