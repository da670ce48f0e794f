-- Schema evolution: what a state was before newer code replaced it, until that is confirmed.
CREATE TABLE belaypin_original (
    key_id         BIGINT NOT NULL,
    schema_version BIGINT NOT NULL,              -- of the state that was replaced
    version        BIGINT NOT NULL,              -- of that state
    state          BYTEA  NOT NULL,              -- framed, byte for byte as it was
    replaced_by    BIGINT NOT NULL,              -- the schema version of what replaced it first
    replaced_us    BIGINT NOT NULL,
    PRIMARY KEY (key_id, schema_version)
);

-- Payloads are compressed already: PostgreSQL need not try again.
ALTER TABLE belaypin_original ALTER COLUMN state SET STORAGE EXTERNAL;
