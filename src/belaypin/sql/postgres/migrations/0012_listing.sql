-- Listings: what lists of a million streams are ordered and narrowed by. The database itself keeps it true,
-- so that it holds whichever version of belaypin writes.

-- head_us, of a stream: the end of the first interval of its coverage (NULL: there is none); intervals: how many
-- there are; updated_slot: when it was changed last, in slots of ten seconds, the newest first. As the slot stays
-- the same for most changes, they touch no indexed column, which is cheaper.
ALTER TABLE belaypin_checkpoint
    ADD COLUMN head_us BIGINT,
    ADD COLUMN intervals BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN updated_slot BIGINT GENERATED ALWAYS AS (-(updated_us / 10000000)) STORED;
UPDATE belaypin_checkpoint
SET head_us = h.head_us, intervals = h.intervals
FROM (SELECT key_id, generation, MIN(end_us) AS head_us, COUNT(*) AS intervals
      FROM belaypin_coverage
      GROUP BY key_id, generation) AS h
WHERE h.key_id = belaypin_checkpoint.key_id AND h.generation = belaypin_checkpoint.generation;

CREATE OR REPLACE FUNCTION belaypin_coverage_added() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        UPDATE belaypin_checkpoint AS c
        SET intervals = c.intervals + n.intervals,
            head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                       WHERE v.key_id = n.key_id AND v.generation = n.generation ORDER BY v.start_us LIMIT 1)
        FROM (SELECT key_id, generation, COUNT(*) AS intervals FROM added GROUP BY key_id, generation) AS n
        WHERE c.key_id = n.key_id AND c.generation = n.generation;
        RETURN NULL;
    END $$;
CREATE TRIGGER belaypin_coverage_added AFTER INSERT ON belaypin_coverage
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION belaypin_coverage_added();

CREATE OR REPLACE FUNCTION belaypin_coverage_removed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        UPDATE belaypin_checkpoint AS c
        SET intervals = c.intervals - n.intervals,
            head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                       WHERE v.key_id = n.key_id AND v.generation = n.generation ORDER BY v.start_us LIMIT 1)
        FROM (SELECT key_id, generation, COUNT(*) AS intervals FROM removed GROUP BY key_id, generation) AS n
        WHERE c.key_id = n.key_id AND c.generation = n.generation;
        RETURN NULL;
    END $$;
CREATE TRIGGER belaypin_coverage_removed AFTER DELETE ON belaypin_coverage
REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION belaypin_coverage_removed();

CREATE OR REPLACE FUNCTION belaypin_coverage_moved() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        UPDATE belaypin_checkpoint AS c
        SET head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                       WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation ORDER BY v.start_us LIMIT 1)
        WHERE c.key_id = NEW.key_id AND c.generation = NEW.generation;
        RETURN NULL;
    END $$;
CREATE TRIGGER belaypin_coverage_moved AFTER UPDATE OF start_us, end_us ON belaypin_coverage
FOR EACH ROW EXECUTE FUNCTION belaypin_coverage_moved();

-- Another generation has a coverage of its own.
CREATE OR REPLACE FUNCTION belaypin_checkpoint_turned() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
    BEGIN
        UPDATE belaypin_checkpoint AS c
        SET intervals = (SELECT COUNT(*) FROM belaypin_coverage AS v
                         WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation),
            head_us = (SELECT v.end_us FROM belaypin_coverage AS v
                       WHERE v.key_id = NEW.key_id AND v.generation = NEW.generation ORDER BY v.start_us LIMIT 1)
        WHERE c.key_id = NEW.key_id;
        RETURN NULL;
    END $$;
CREATE TRIGGER belaypin_checkpoint_turned AFTER UPDATE OF generation ON belaypin_checkpoint
FOR EACH ROW WHEN (NEW.generation <> OLD.generation) EXECUTE FUNCTION belaypin_checkpoint_turned();

-- None of these is touched by the commit of a page, but for the slot, once in ten seconds.
CREATE INDEX belaypin_checkpoint_lag ON belaypin_checkpoint (pipeline, head_us, key_id)
WHERE head_us IS NOT NULL AND completed_us IS NULL;
-- By the pipeline's name as an expression, so that nothing but a list by change is tempted to use it.
CREATE INDEX belaypin_checkpoint_updated ON belaypin_checkpoint ((pipeline || ''), updated_slot, key_id);
CREATE INDEX belaypin_checkpoint_gaps ON belaypin_checkpoint (pipeline, entity, stream) WHERE intervals > 1;
CREATE INDEX belaypin_checkpoint_put_aside ON belaypin_checkpoint (pipeline, entity, stream) WHERE failures > 0;
CREATE INDEX belaypin_checkpoint_complete ON belaypin_checkpoint (pipeline, entity, stream)
WHERE completed_us IS NOT NULL;
CREATE INDEX belaypin_checkpoint_priority ON belaypin_checkpoint (pipeline, entity) WHERE priority <> 0;
