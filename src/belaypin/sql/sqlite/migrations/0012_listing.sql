-- Listings: what lists of a million streams are ordered and narrowed by. The database itself keeps it true,
-- so that it holds whichever version of belaypin writes.

-- Of a stream: the end of the first interval of its coverage (NULL: there is none), and how many there are.
ALTER TABLE belaypin_checkpoint ADD COLUMN head_us INTEGER;
ALTER TABLE belaypin_checkpoint ADD COLUMN intervals INTEGER NOT NULL DEFAULT 0;
UPDATE belaypin_checkpoint
SET head_us = (SELECT MIN(v.end_us) FROM belaypin_coverage AS v
               WHERE v.key_id = belaypin_checkpoint.key_id AND v.generation = belaypin_checkpoint.generation),
    intervals = (SELECT COUNT(*) FROM belaypin_coverage AS v
                 WHERE v.key_id = belaypin_checkpoint.key_id AND v.generation = belaypin_checkpoint.generation)
WHERE stream <> '';

-- When it was changed last, in slots of ten seconds, the newest first.
ALTER TABLE belaypin_checkpoint ADD COLUMN updated_slot INTEGER GENERATED ALWAYS AS (-(updated_us / 10000000)) VIRTUAL;

CREATE TRIGGER belaypin_coverage_added AFTER INSERT ON belaypin_coverage BEGIN
    UPDATE belaypin_checkpoint
    SET intervals = intervals + 1,
        head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                   WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation ORDER BY v.start_us LIMIT 1)
    WHERE key_id = NEW.key_id AND generation = NEW.generation;
    END;

CREATE TRIGGER belaypin_coverage_removed AFTER DELETE ON belaypin_coverage BEGIN
    UPDATE belaypin_checkpoint
    SET intervals = intervals - 1,
        head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                   WHERE v.key_id = OLD.key_id AND v.generation = OLD.generation ORDER BY v.start_us LIMIT 1)
    WHERE key_id = OLD.key_id AND generation = OLD.generation;
    END;

CREATE TRIGGER belaypin_coverage_moved AFTER UPDATE OF start_us, end_us ON belaypin_coverage BEGIN
    UPDATE belaypin_checkpoint
    SET head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                   WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation ORDER BY v.start_us LIMIT 1)
    WHERE key_id = NEW.key_id AND generation = NEW.generation;
    END;

-- Another generation has a coverage of its own.
CREATE TRIGGER belaypin_checkpoint_turned AFTER UPDATE OF generation ON belaypin_checkpoint
WHEN NEW.generation <> OLD.generation BEGIN
    UPDATE belaypin_checkpoint
    SET intervals = (SELECT COUNT(*) FROM belaypin_coverage AS v
                     WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation),
        head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                   WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation ORDER BY v.start_us LIMIT 1)
    WHERE key_id = NEW.key_id;
    END;

-- None of these is touched by the commit of a page, but for the slot, once in ten seconds.
CREATE INDEX belaypin_checkpoint_lag ON belaypin_checkpoint (pipeline, head_us, key_id)
WHERE head_us IS NOT NULL AND completed_us IS NULL;
-- By the pipeline's name as an expression, so that nothing but a list by change is tempted to use it.
CREATE INDEX belaypin_checkpoint_updated ON belaypin_checkpoint (pipeline || '', updated_slot, key_id);
CREATE INDEX belaypin_checkpoint_gaps ON belaypin_checkpoint (pipeline, entity, stream) WHERE intervals > 1;
CREATE INDEX belaypin_checkpoint_put_aside ON belaypin_checkpoint (pipeline, entity, stream) WHERE failures > 0;
CREATE INDEX belaypin_checkpoint_complete ON belaypin_checkpoint (pipeline, entity, stream)
WHERE completed_us IS NOT NULL;
CREATE INDEX belaypin_checkpoint_priority ON belaypin_checkpoint (pipeline, entity) WHERE priority <> 0;
