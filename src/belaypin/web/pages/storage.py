"""Storage: what takes up how much, how it grew, and what collecting garbage would free."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from belaypin.web.page import Page, Params, View

__all__ = ["PAGE"]

_LOOK_S = 2
"""So long does the dry run of a collection look."""


class StorageParams(Params, frozen=True, kw_only=True):
    """``pipeline``: that one only. ``since``: how far back its growth is drawn."""

    pipeline: str | None = None
    since: Literal["1d", "7d", "30d", "365d"] = "30d"


async def build(view: View, params: StorageParams) -> dict[str, Any]:
    """Both are sampled: at a million entities they take their time."""
    store, pipeline = view.store, params.pipeline
    storage, free, history = await asyncio.gather(
        view.sample("storage", pipeline, lambda: store.storage(pipeline=pipeline)),
        view.sample("gc", None, lambda: store.gc(dry_run=True, deadline_s=_LOOK_S)),
        store.health_history(params.since, pipeline=pipeline, limit=400),
    )
    return {
        "storage": storage,
        "free": free,
        "history": history,
        "job": view.dashboard.jobs.newest("gc"),
        "command": view.command("storage", pipeline=pipeline),
    }


PAGE = Page("/storage", "Storage", "storage.html", StorageParams, build, nav="Storage")
