"""Groups: failures by the class of their error, a bounded stretch of them at a time."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime

from belaypin.program import Program, Rows, Statement
from belaypin.programs.disposal import Filter
from belaypin.records.failure import FailureGroup, FailureGroups
from belaypin.times import from_us

__all__ = ["groups"]

_CLASS = re.compile(r"[\w.]+(?=:|$)")
_STRETCHES = 24
_LEAST_US = 1_000_000


def groups(where: Filter, before: int, scan: int) -> Program[FailureGroups]:
    """What fits of the newest ``scan`` failures numbered below ``before``."""
    ends = yield Statement("failure.stretch", {"before": before, "scan": scan})
    looked_at, first, now_us = ends[0]
    if not looked_at:
        return FailureGroups()
    at = {"first": first, "before": before}
    rows = yield Statement("failure.newest", {**where.params(), **at})
    return FailureGroups(
        groups=tuple(sorted(_grouped(rows), key=lambda group: (-group.total, group.error))),
        trend=_trend(rows, now_us),
        looked_at=looked_at,
        next=first if looked_at == scan else None,
    )


def _grouped(rows: Rows) -> list[FailureGroup]:
    found: dict[str, list[tuple[str, str, int, int]]] = {}
    for status, error, first_us, last_us in rows:
        match = _CLASS.match(error)
        name = match[0] if match else error[:60]
        found.setdefault(name, []).append((status, error, first_us, last_us))
    return [
        FailureGroup(
            error=name,
            example=members[0][1],
            total=len(members),
            quarantined=sum(status == "quarantined" for status, *_ in members),
            first_failed_at=from_us(min(first_us for *_, first_us, _ in members)),
            last_failed_at=from_us(max(last_us for *_, last_us in members)),
        )
        for name, members in found.items()
    ]


def _trend(rows: Rows, now_us: int) -> tuple[tuple[datetime, int], ...]:
    """How many failed first in each stretch of the time up to now."""
    if not rows:
        return ()
    times = [first_us for *_, first_us, _ in rows]
    begin_us = min(times)
    step_us = max(-(-(now_us - begin_us) // _STRETCHES), _LEAST_US)
    counts = Counter((at_us - begin_us) // step_us for at_us in times)
    starts = range(begin_us, max(now_us, max(times)) + 1, step_us)
    return tuple((from_us(at_us), counts[n]) for n, at_us in enumerate(starts))
