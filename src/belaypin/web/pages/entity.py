"""One entity: how it stands, its streams in time, its state and what it was, and why items were skipped."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from belaypin import CorruptRecord, Key, UsageError
from belaypin.web.charts import ticks
from belaypin.web.page import Page, Params, View
from belaypin.web.pages.coverage import bars_of, command_of
from belaypin.web.states import stored

__all__ = ["PAGE"]

MOST_STREAMS = 100
VERSIONS = 20

Version = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Entity(Params, frozen=True, kw_only=True):
    """An entity, or with ``stream`` one of its streams; ``old`` and ``new``: versions to compare.

    ``item``: the id of an item to explain; ``numeric``: it is a number.
    """

    pipeline: str | None = None
    entity: str | None = None
    stream: str | None = None
    old: Version | None = None
    new: Version | None = None
    item: str | None = None
    numeric: bool = False
    zoom: Literal["all", "1h", "1d", "7d", "30d", "1y"] = "all"
    begin: datetime | None = None
    end: datetime | None = None


async def build(view: View, params: Entity) -> dict[str, Any]:
    """Some short reads, side by side."""
    if not params.pipeline or not params.entity:
        raise UsageError("Which entity? Its page needs a `pipeline` and an `entity`.")
    store, entity = view.store, Key(params.pipeline, params.entity)
    key = entity.child(params.stream) if params.stream else entity
    status = await store.status(key)
    listing = await store.streams(
        pipeline=entity.pipeline, entity=entity.entity, limit=MOST_STREAMS
    )
    streams = [row for row in listing if not params.stream or row.key == key]
    stretch, bars = await bars_of(view, params, streams)
    gaps = await store.gap_list(_filter(key), limit=20)
    return {
        "key": key,
        "entity": entity,
        "status": status,
        "streams": bars,
        "has_live": any(one.row.live_to is not None for one in bars),
        "windows": [window for one in bars for window in one.windows.rows],
        "more": listing.next is not None,
        "stretch": stretch,
        "ticks": ticks(*stretch),
        "gaps": gaps,
        "command_of": lambda gap: command_of(view, gap),
        "leases": await store.leases(_filter(entity), limit=20),
        "failures": await store.failures(*key.parts, limit=20),
        "audit": await store.audit(key, limit=10),
        **await _state(view, params, key),
        **await _explained(view, params, key),
        "command": view.command("status", key),
    }


async def _state(view: View, params: Entity, key: Key) -> dict[str, Any]:
    """The state now, what it was, and the difference of two versions."""
    store = view.store
    checkpoint, damage, differences = None, None, None
    versions = await store.history(key, limit=VERSIONS)
    try:
        checkpoint = await stored(store, key)
        if params.old is not None:
            differences = await store.diff(key, params.old, params.new)
    except CorruptRecord as error:
        damage = str(error)
    return {
        "checkpoint": checkpoint,
        "damage": damage,
        "versions": versions,
        "differences": differences,
    }


async def _explained(view: View, params: Entity, key: Key) -> dict[str, Any]:
    """Why an item was skipped; or of a document, what is known of it."""
    explanation = None
    if params.item is not None and key.depth == 3:
        item: Any = params.item
        if params.numeric:
            try:
                item = int(params.item)
            except ValueError as error:
                raise UsageError(f"{params.item!r} is no whole number.") from error
        explanation = await view.store.explain(key, item)
    elif params.item is None:
        document = await view.store.explain(key)
        explanation = document if document.content_hash is not None else None
    return {"explanation": explanation}


def _filter(key: Key) -> str:
    terms = zip(("pipeline", "entity", "stream"), key.parts, strict=False)
    return " ".join(f"{name}:{_quoted(part)}" for name, part in terms)


def _quoted(part: str) -> str:
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


PAGE = Page("/entity", "Entity", "entity.html", Entity, build)
