"""Coverage: which event time of a stream is wholly processed, and which window comes next."""

from __future__ import annotations

from typing import NamedTuple

from belaypin import intervals
from belaypin.program import Program, Statement
from belaypin.times import MIN_US

__all__ = ["Span", "covered", "cut", "extend", "plan"]


class Span(NamedTuple):
    """A window to process: [start_us, end_us).

    ``is_head``: nothing later is covered, so its end is only how far the source was asked.
    ``covered_to_us``: items before it are late, as the time was covered when the window opened.
    """

    start_us: int
    end_us: int
    is_head: bool
    covered_to_us: int


def covered(key_id: int, generation: int) -> Program[intervals.Intervals]:
    """The stream's coverage: sorted, half-open, none touching."""
    rows = yield Statement("coverage.list", {"key_id": key_id, "generation": generation})
    return [(start, end) for start, end in rows]


def extend(key_id: int, generation: int, start_us: int, end_us: int) -> Program[None]:
    """Add [start_us, end_us) to the coverage. The caller holds the stream row's lock."""
    if end_us <= start_us:
        return
    stream = {"key_id": key_id, "generation": generation}
    rows = yield Statement("coverage.touching", {**stream, "start_us": start_us, "end_us": end_us})
    if len(rows) == 1 and rows[0][0] <= start_us:
        first_us, last_us = rows[0]
        if last_us < end_us:
            moved = {**stream, "start_us": first_us, "end_us": end_us}
            yield Statement("coverage.move", moved)
        return
    for start, end in rows:
        yield Statement("coverage.delete", {**stream, "start_us": start})
        start_us, end_us = min(start_us, start), max(end_us, end)
    yield Statement("coverage.insert", {**stream, "start_us": start_us, "end_us": end_us})


def cut(key_id: int, generation: int, at_us: int) -> Program[bool]:
    """Take the instant [at_us, at_us + 1) out of the coverage; whether it was in it."""
    stream = {"key_id": key_id, "generation": generation}
    here = {**stream, "start_us": at_us, "end_us": at_us + 1}
    rows = yield Statement("coverage.touching", here)
    for start, end in rows:
        if start <= at_us < end:
            yield Statement("coverage.delete", {**stream, "start_us": start})
            for left, right in ((start, at_us), (at_us + 1, end)):
                if left < right:
                    yield Statement(
                        "coverage.insert", {**stream, "start_us": left, "end_us": right}
                    )
            return True
    return False


def plan(
    done: intervals.Intervals, since_us: int, until_us: int, overlap_us: int, *, is_open: bool
) -> list[Span]:
    """The windows that are missing in [since_us, until_us): gaps first, then the head.

    Each re-reads ``overlap_us`` of what is covered before it, as late items appear there: before a
    gap too, for what was late where a backfill ended and a listener began. ``is_open``: no end was
    asked for, so the head is re-read even when all is covered.
    """
    if since_us >= until_us:
        return []
    holes = intervals.gaps(done, since_us, until_us)
    spans = [
        _span(start, end, since_us, overlap_us, is_head=False)
        for start, end in holes
        if end < until_us
    ]
    tail = next((start for start, end in holes if end == until_us), None)
    if tail is not None:
        head = tail
    elif is_open and overlap_us:
        head = until_us
    else:
        return spans
    return [*spans, _span(head, until_us, since_us, overlap_us, is_head=True)]


def _span(start_us: int, end_us: int, since_us: int, overlap_us: int, *, is_head: bool) -> Span:
    """The window of a hole: from its start less the overlap, if something before it is covered."""
    if start_us <= since_us:
        return Span(since_us, end_us, is_head, MIN_US)
    return Span(max(since_us, start_us - overlap_us), end_us, is_head, start_us)
