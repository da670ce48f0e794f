-- Schema evolution: what a state was before newer code replaced it, until that is confirmed.
CREATE TABLE belaypin_original (
    key_id         INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,             -- of the state that was replaced
    version        INTEGER NOT NULL,             -- of that state
    state          BLOB    NOT NULL,             -- framed, byte for byte as it was
    replaced_by    INTEGER NOT NULL,             -- the schema version of what replaced it first
    replaced_us    INTEGER NOT NULL,
    PRIMARY KEY (key_id, schema_version)
) WITHOUT ROWID;
