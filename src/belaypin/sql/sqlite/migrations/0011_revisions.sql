-- Which version of the user's code processed a stream or document, which revision a document has, and
-- how many items or documents were skipped because a newer revision of them was committed.
ALTER TABLE belaypin_checkpoint ADD COLUMN processor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE belaypin_checkpoint ADD COLUMN revision INTEGER;
ALTER TABLE belaypin_checkpoint ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;
