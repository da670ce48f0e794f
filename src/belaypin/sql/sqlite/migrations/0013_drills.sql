-- Drills: what runs of a pipeline under SIGKILL, on copies of its store, have shown.
CREATE TABLE belaypin_drill (
    drill_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline        TEXT    NOT NULL,
    at_us           INTEGER NOT NULL,
    kills           INTEGER NOT NULL,
    lost            INTEGER NOT NULL,             -- rows, ids and spans, against an undisturbed run
    doubled         INTEGER NOT NULL,
    recovery_p50_us INTEGER,                      -- from the start of a process to its first new commit
    recovery_p99_us INTEGER
);
CREATE INDEX belaypin_drill_pipeline ON belaypin_drill (pipeline, drill_id);
