"""Coverage: a bar for each stream, worst first; its gaps, and the command that fills them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from belaypin import CorruptRecord, Interval, StreamRow, UsageError, WindowRow
from belaypin.web.charts import Bar, Over, bar, ticks
from belaypin.web.page import MAX_LIMIT, Page, Params, View
from belaypin.web.words import asked

__all__ = ["PAGE", "Stretch", "bars_of", "command_of"]

MOST_WINDOWS = 20
"""So many open windows are drawn of a stream."""

RANGES = {
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "1y": timedelta(days=365),
}
_LEAST = timedelta(seconds=1)

Zoom = Literal["all", "1h", "1d", "7d", "30d", "1y"]


class Coverage(Params, frozen=True, kw_only=True):
    """``q``: a filter. ``zoom``: so much up to now; or all; or from ``begin`` to ``end``."""

    q: str = ""
    pipeline: str | None = None
    order: Literal["key", "lag", "updated"] = "lag"
    zoom: Zoom = "all"
    begin: datetime | None = None
    end: datetime | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 25
    after: str | None = None


class Stretch(NamedTuple):
    """The stretch of time that bars are drawn for."""

    begin: datetime
    end: datetime


class Windows(NamedTuple):
    """The open windows of a stream; ``damage``: why they cannot be read."""

    rows: tuple[WindowRow, ...] = ()
    damage: str | None = None


class Drawn(NamedTuple):
    """A stream with its bar, and the windows in it."""

    row: Any
    bar: Bar
    windows: Windows


async def build(view: View, params: Coverage) -> dict[str, Any]:
    """The streams of one page, and the coverage of each."""
    store = view.store
    listing = await store.streams(
        params.q,
        pipeline=params.pipeline,
        order=params.order,
        limit=params.limit,
        after=params.after,
    )
    stretch, bars = await bars_of(view, params, listing.rows)
    gaps = await store.gap_list(params.q, pipeline=params.pipeline, limit=25)
    return {
        "drawn": bars,
        "has_live": any(one.row.live_to is not None for one in bars),
        "has_windows": any(one.row.is_open for one in bars),
        "listing": listing,
        "stretch": stretch,
        "ticks": ticks(*stretch),
        "gaps": gaps,
        "command_of": lambda gap: command_of(view, gap),
        "ranges": ("all", *RANGES),
        "command": view.command("lag", asked(params.q, pipeline=params.pipeline)),
    }


async def bars_of(
    view: View, params: Any, rows: Sequence[StreamRow]
) -> tuple[Stretch, list[Drawn]]:
    """The bars of some streams on one scale, and that scale."""
    covers = await asyncio.gather(*(view.store.coverage(row.key) for row in rows))
    windows = await asyncio.gather(*(windows_of(view, row) for row in rows))
    seen = [each for intervals in covers for each in intervals]
    seen += [Interval(each.start, each.end) for found in windows for each in found.rows]
    stretch = stretch_of(view, params, seen)
    drawn = [
        Drawn(row, drawn_of(row, covered, found, stretch), found)
        for row, covered, found in zip(rows, covers, windows, strict=True)
    ]
    return stretch, drawn


async def windows_of(view: View, row: StreamRow) -> Windows:
    """The open windows of a stream."""
    if not row.is_open:
        return Windows()
    try:
        return Windows((await view.store.windows(row.key, limit=MOST_WINDOWS)).rows)
    except CorruptRecord as error:
        return Windows(damage=str(error))


def drawn_of(row: StreamRow, covered: list[Interval], found: Windows, stretch: Stretch) -> Bar:
    """The bar of what is covered, of the holes between, and of what lies over it."""
    holes = [Interval(before.end, behind.start) for before, behind in pairwise(covered)]
    live = None
    if row.live_from is not None and row.live_to is not None and row.live_from < row.live_to:
        live = Interval(row.live_from, row.live_to)
    over = Over(live, tuple(Interval(each.start, each.end) for each in found.rows))
    return bar(covered, holes, *stretch, over)


def stretch_of(view: View, params: Any, seen: list[Interval]) -> Stretch:
    """From the first to the last time that is of interest; raises UsageError if there is none."""
    if params.begin is not None or params.end is not None:
        begin, end = _aware(params.begin, "begin"), _aware(params.end, "end") or view.now
        begin = begin or min((i.start for i in seen), default=end - RANGES["1d"])
        if end - begin < _LEAST:
            raise UsageError("`begin` must lie before `end`, by a second at least.")
        return Stretch(begin, end)
    if params.zoom != "all":
        return Stretch(view.now - RANGES[params.zoom], view.now)
    begin = min((i.start for i in seen), default=view.now - RANGES["1d"])
    end = max((i.end for i in seen), default=view.now)
    # Up to now if that is near: an import of last year's data is not drawn as a sliver.
    if end < view.now and view.now - end < 2 * (end - begin):
        end = view.now
    return Stretch(begin, max(end, begin + _LEAST))


def command_of(view: View, gap: Any) -> str:
    """What fills a gap."""
    return view.command(
        "backfill",
        gap.key,
        since=gap.start.astimezone(UTC).isoformat(),
        until=gap.end.astimezone(UTC).isoformat(),
    )


def _aware(at: datetime | None, name: str) -> datetime | None:
    if at is None:
        return None
    if at.utcoffset() is None:
        raise UsageError(f"`{name}` needs a time zone: 2024-01-31T12:00:00Z.")
    return at.astimezone(UTC)


PAGE = Page("/coverage", "Coverage", "coverage.html", Coverage, build, nav="Coverage")
