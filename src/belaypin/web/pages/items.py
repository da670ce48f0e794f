"""Items: one search box with the filter language; entities, streams, and the ids in a ledger."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from belaypin import Key
from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View
from belaypin.web.states import stored
from belaypin.web.words import asked

__all__ = ["PAGE"]

CAP = 1_000


class Items(Params, frozen=True, kw_only=True):
    """``q``: a filter over ``kind``; with ``entity`` and ``stream``, the ids of one ledger."""

    q: str = ""
    kind: Literal["entities", "streams"] = "entities"
    order: Literal["key", "lag", "updated"] = "key"
    pipeline: str | None = None
    entity: str | None = None
    stream: str | None = None
    contains: str = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    after: str | None = None


async def build(view: View, params: Items) -> dict[str, Any]:
    """Rows that the filter finds, or the ids of a stream."""
    if params.pipeline and params.entity and params.stream:
        return await _ids(view, params, Key(params.pipeline, params.entity, params.stream))
    store = view.store
    listing: Any
    if params.kind == "entities":
        listing = await store.entities(
            params.q,
            pipeline=params.pipeline,
            order=params.order,
            limit=params.limit,
            after=params.after,
        )
    else:
        listing = await store.streams(
            params.q,
            pipeline=params.pipeline,
            order=params.order,
            limit=params.limit,
            after=params.after,
        )
    count = await store.count(params.q, params.kind, pipeline=params.pipeline, cap=CAP)
    return {
        "listing": listing,
        "count": count,
        "key": None,
        "command": view.command("status", asked(params.q, pipeline=params.pipeline)),
    }


async def _ids(view: View, params: Items, key: Key) -> dict[str, Any]:
    listing = await view.store.items(
        key, contains=params.contains or None, limit=params.limit, after=params.after
    )
    checkpoint = await stored(view.store, key)
    return {
        "listing": listing,
        "count": 0 if checkpoint is None else checkpoint.items,
        "key": key,
        "command": view.command("items", key, contains=params.contains),
    }


PAGE = Page("/items", "Items", "items.html", Items, build, nav="Items")
