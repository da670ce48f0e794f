"""What a saver asks of the database, written once as async; the sync side is generated."""
