"""Small charts drawn here, as SVG with attributes only: the policy allows no inline style."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from belaypin import Interval

__all__ = ["Bar", "Over", "Span", "Sparkline", "Tick", "bar", "sparkline", "ticks"]

WIDTH = 1000
_LEAST = 2.0
"""No stretch is drawn narrower: a gap of a second in a year must be seen."""

WORDS = {
    "covered": "covered",
    "live": "covered live",
    "overlap": "overlap, read again",
    "gap": "gap",
    "window": "window at work",
    "head": "head",
}
"""What can be in a bar, in the order in which it is drawn, and what it is called."""

Point = tuple[datetime, float | None]


class Sparkline(NamedTuple):
    """A trend in 100 by 24 units: its line, and what it says in words."""

    points: str
    text: str


def sparkline(samples: Sequence[Point]) -> Sparkline | None:
    """The trend of some samples; None if they are too few to have one.

    >>> from datetime import UTC
    >>> day = [(datetime(2024, 1, d, tzinfo=UTC), float(d)) for d in (1, 2, 3)]
    >>> sparkline(day).points
    '0,22 50,12 100,2'
    """
    known = [(at, value) for at, value in samples if value is not None]
    if len(known) < 3:
        return None
    begin, end = known[0][0], known[-1][0]
    low, high = min(v for _, v in known), max(v for _, v in known)
    length, height = (end - begin) / timedelta(seconds=1) or 1.0, high - low
    points = " ".join(
        f"{(at - begin) / timedelta(seconds=1) / length * 100:.4g},"
        f"{22 - ((value - low) / height if height else 0.5) * 20:.4g}"
        for at, value in known
    )
    return Sparkline(
        points, f"from {known[0][1]:.4g} to {known[-1][1]:.4g}, {low:.4g} to {high:.4g}"
    )


class Span(NamedTuple):
    """A stretch of a bar: where it begins, how wide it is, what it is."""

    x: float
    width: float
    kind: str
    text: str


class Bar(NamedTuple):
    """The coverage of one stream on a scale of time."""

    spans: tuple[Span, ...]
    covered: float
    """Which part of what can be seen is covered."""


class Over(NamedTuple):
    """What is drawn over the coverage: what was listened to last, and the windows at work."""

    live: Interval | None = None
    windows: tuple[Interval, ...] = ()

    def parts(self, covered: Sequence[Interval]) -> Iterator[tuple[Interval, str]]:
        """What of it can be drawn over this coverage, and as what."""
        if self.live is not None:
            yield from ((part, "live") for part in _common(self.live, covered))
        for window in self.windows:
            yield window, "window"
            yield from ((part, "overlap") for part in _common(window, covered))


NOTHING_OVER = Over()


def _common(of: Interval, others: Sequence[Interval]) -> Iterator[Interval]:
    for other in others:
        start, end = max(of.start, other.start), min(of.end, other.end)
        if start < end:
            yield Interval(start, end)


def bar(
    covered: Sequence[Interval],
    holes: Iterable[Interval],
    begin: datetime,
    end: datetime,
    over: Over = NOTHING_OVER,
) -> Bar:
    """Draw what is covered and what is missing between two times, and what lies over it."""
    length = (end - begin) / timedelta(seconds=1)
    if length <= 0:
        return Bar((), 0.0)

    def place(interval: Interval, kind: str) -> Span | None:
        first, last = max(interval.start, begin), min(interval.end, end)
        if last <= first:
            return None
        x = (first - begin) / timedelta(seconds=1) / length * WIDTH
        width = max((last - first) / timedelta(seconds=1) / length * WIDTH, _LEAST)
        x = min(x, WIDTH - width)
        text = f"{WORDS[kind]}: {_written(interval.start)} to {_written(interval.end)}"
        return Span(round(x, 2), round(width, 2), kind, text)

    drawn = [place(i, "covered") for i in covered] + [place(i, "gap") for i in holes]
    drawn += [place(part, kind) for part, kind in over.parts(covered)]
    if covered and begin <= covered[0].end < end:
        x = (covered[0].end - begin) / timedelta(seconds=1) / length * WIDTH
        text = f"head: {_written(covered[0].end)}"
        drawn.append(Span(round(min(x, WIDTH - _LEAST), 2), _LEAST, "head", text))
    spans = tuple(span for span in drawn if span is not None)
    total = sum(span.width for span in spans if span.kind == "covered")
    return Bar(_thinned(spans), min(1.0, total / WIDTH))


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def _thinned(spans: tuple[Span, ...], most: int = 400) -> tuple[Span, ...]:
    """Gaps are drawn last, so that they are seen; what is too many for the eye is left out."""
    found: list[Span] = []
    for kind in WORDS:
        alike = [span for span in spans if span.kind == kind]
        found += sorted(alike, key=lambda span: -span.width)[:most]
    return tuple(found)


class Tick(NamedTuple):
    """A mark on a scale of time."""

    x: float
    text: str


_STEPS: tuple[int, ...] = (
    60,
    300,
    900,
    3600,
    4 * 3600,
    12 * 3600,
    86400,
    7 * 86400,
    30 * 86400,
    91 * 86400,
)
_STEPS += (182 * 86400, 365 * 86400, 5 * 365 * 86400, 25 * 365 * 86400, 100 * 365 * 86400)


def ticks(begin: datetime, end: datetime, most: int = 6) -> list[Tick]:
    """Marks at round times.

    >>> from datetime import UTC
    >>> [t.text for t in ticks(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, 12, tzinfo=UTC))]
    ['00:00', '04:00', '08:00', '12:00']
    """
    length_s = (end - begin).total_seconds()
    if length_s <= 0:
        return []
    step_s = next((s for s in _STEPS if length_s / s <= most), length_s)
    form = "%H:%M" if length_s <= 86400 else "%d %b" if length_s < 300 * 86400 else "%b %Y"
    first_s = -(-begin.timestamp() // step_s) * step_s
    found = []
    for n in range(int((end.timestamp() - first_s) // step_s) + 1):
        at_s = first_s + n * step_s - begin.timestamp()
        at = begin + timedelta(seconds=at_s)
        is_midday = step_s < 86400 < length_s and f"{at:%H:%M}" != "00:00"
        found.append(
            Tick(round(at_s / length_s * WIDTH, 2), f"{at:{'%H:%M' if is_midday else form}}")
        )
    return found
