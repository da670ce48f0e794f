"""Efficiency: how much of what was fetched had to be processed, and how that went."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Annotated, Any, Literal

from msgspec import Meta

from belaypin import Health
from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View
from belaypin.web.pages.overview import MOST_PIPELINES, status_of

__all__ = ["PAGE"]


class Efficiency(Params, frozen=True, kw_only=True):
    """``since``: how far back it is drawn. ``q``: a filter over the streams."""

    q: str = ""
    pipeline: str | None = None
    since: Literal["1h", "1d", "7d", "30d"] = "1d"
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    after: str | None = None


async def build(view: View, params: Efficiency) -> dict[str, Any]:
    """The pipelines, the streams of one page, and the rates between recorded samples."""
    store, pipeline = view.store, params.pipeline
    names = [pipeline] if pipeline else view.pipelines[:MOST_PIPELINES]
    statuses = await asyncio.gather(*(status_of(view, name) for name in names))
    history = await store.health_history(params.since, pipeline=pipeline, limit=400)
    listing = await store.streams(
        params.q, pipeline=pipeline, limit=params.limit, after=params.after
    )
    return {
        "rows": [(n, sample) for n, sample in zip(names, statuses, strict=True)],
        "rates": [rate(a, b) for a, b in pairwise(history)],
        "listing": listing,
        "efficiency": efficiency,
        "command": view.command("health", pipeline=pipeline),
    }


def efficiency(of: Any) -> float | None:
    """(items + changed) / (items + changed + skipped), of anything that has the three."""
    seen = of.items + of.changed + of.skipped
    return (of.items + of.changed) / seen if seen else None


def rate(before: Health, behind: Health) -> dict[str, Any]:
    """What came in a second between two samples; a rewind may take counts back: then 0."""
    seconds = max((behind.at - before.at).total_seconds(), 1e-6)
    counts = {
        name: max(0, getattr(behind, name) - getattr(before, name))
        for name in ("items", "changed", "skipped")
    }
    seen = sum(counts.values())
    part = (counts["items"] + counts["changed"]) / seen if seen else None
    return {"at": behind.at, "efficiency": part, **{n: c / seconds for n, c in counts.items()}}


PAGE = Page("/efficiency", "Efficiency", "efficiency.html", Efficiency, build, nav="Efficiency")
