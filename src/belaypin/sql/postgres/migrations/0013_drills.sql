-- Drills: what runs of a pipeline under SIGKILL, on copies of its store, have shown.
CREATE TABLE belaypin_drill (
    drill_id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pipeline        TEXT COLLATE "C" NOT NULL,
    at_us           BIGINT           NOT NULL,
    kills           BIGINT           NOT NULL,
    lost            BIGINT           NOT NULL,    -- rows, ids and spans, against an undisturbed run
    doubled         BIGINT           NOT NULL,
    recovery_p50_us BIGINT,                       -- from the start of a process to its first new commit
    recovery_p99_us BIGINT
);
CREATE INDEX belaypin_drill_pipeline ON belaypin_drill (pipeline, drill_id);
