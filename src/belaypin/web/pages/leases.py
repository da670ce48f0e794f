"""Leases: who works on what, and what was held by workers that are gone."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from msgspec import Meta

from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View
from belaypin.web.words import NOTHING, asked

__all__ = ["PAGE"]


class Leases(Params, frozen=True, kw_only=True):
    """``q``: a filter; without a state, leases that are released are left out."""

    q: str = ""
    pipeline: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    after: str | None = None


async def build(view: View, params: Leases) -> dict[str, Any]:
    """The leases of one page, and the workers that hold them."""
    listing = await view.store.leases(
        params.q, pipeline=params.pipeline, limit=params.limit, after=params.after
    )
    workers: Counter[tuple[str, str, str]] = Counter()
    for row in listing:
        if row.state != "released":
            pid = NOTHING if row.pid is None else str(row.pid)
            workers[row.host or row.owner, pid, row.state] += 1
    return {
        "listing": listing,
        "workers": workers.most_common(50),
        "command": view.command("leases", asked(params.q, pipeline=params.pipeline)),
    }


PAGE = Page("/leases", "Leases and workers", "leases.html", Leases, build, nav="Leases")
