"""Drills: what is kept of each, and the newest ones."""

from __future__ import annotations

from datetime import timedelta

from belaypin.program import Program, Row, SqlValue, Statement
from belaypin.records.drill import Drill
from belaypin.times import from_us

__all__ = ["keep", "newest"]


def keep(figures: dict[str, SqlValue]) -> Program[Drill]:
    """Keep the figures of one drill; its time is the database's."""
    rows = yield Statement("drill.keep", figures)
    return _drill(rows[0])


def newest(pipeline: str, limit: int) -> Program[list[Drill]]:
    """The newest drills of a pipeline ("": of all), newest first."""
    name = "drill.newest" if pipeline else "drill.newest_of_all"
    params: dict[str, SqlValue] = {"limit": limit}
    if pipeline:
        params["pipeline"] = pipeline
    return [_drill(row) for row in (yield Statement(name, params))]


def _drill(row: Row) -> Drill:
    pipeline, at_us, kills, lost, doubled, *times_us = row
    p50, p99 = (None if us is None else timedelta(microseconds=us) for us in times_us)
    return Drill(
        at=from_us(at_us),
        pipeline=pipeline,
        kills=kills,
        lost=lost,
        doubled=doubled,
        recovery_p50=p50,
        recovery_p99=p99,
    )
