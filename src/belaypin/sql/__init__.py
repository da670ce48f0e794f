"""SQL is source: named statements in ``queries/``, numbered migrations per database."""
