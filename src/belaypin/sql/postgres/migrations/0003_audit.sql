-- The audit: who changed history, gave up an item or took over, when, and how.
CREATE TABLE belaypin_audit (
    audit_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_us    BIGINT NOT NULL,
    actor    TEXT   NOT NULL,                    -- machine and process, as of a lease's owner
    action   TEXT   NOT NULL,                    -- one word, such as rewind
    pipeline TEXT   NOT NULL,                    -- of the Key; '' where it is not that deep, or none
    entity   TEXT   NOT NULL,
    stream   TEXT   NOT NULL,
    detail   TEXT   NOT NULL                     -- a JSON object
);
