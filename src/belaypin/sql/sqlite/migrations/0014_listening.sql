-- Of a stream that somebody listens to: from when to when without a break, the newest such stretch. Its commits
-- write it with what they change on this row anyway; nothing is ordered or narrowed by it, so nothing is indexed.
ALTER TABLE belaypin_checkpoint ADD COLUMN live_from_us INTEGER;
ALTER TABLE belaypin_checkpoint ADD COLUMN live_to_us INTEGER;
