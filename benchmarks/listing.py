"""What a page of a listing costs in a large store, in every order and with every filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import belaypin
from benchmarks import scale
from benchmarks.databases import Server
from benchmarks.figures import Figure, Stopwatch, say

__all__ = ["measure"]

_RUNS = 5
_AIM_MS = 100.0
_ORDERS = ("key", "lag", "updated")
_TERMS = (
    *("", "user:00999", "nothing", "-nothing", "entity:user:00000500", "entity:user:0099*"),
    *("state:open", "state:complete", "state:failed", "state:waiting", "state:interrupted"),
    *("state:working", "state:quarantined", "lag>6d", "lag<1s", "gaps>0", "gaps>5", "items>10"),
    *("items>1000000", "failures>0", 'error~"429"', "error~500", "role:main", "owner:host*"),
    *("updated<1h", "updated>29d", "priority>0", "priority<0"),
)
_STREAM_TERMS = ("stream:likes", "stream:nothing", "stream:posts state:interrupted lag>1h")


def measure(server: Server, entities: int, items: int) -> Iterator[Figure]:
    """The time of each page, and what making the store took."""
    name = f"{server.name}, {entities:,} entities, {items:,} items"
    with server.fresh() as database, belaypin.open(database.url) as store:
        say(f"listing: {name}")
        with Stopwatch() as watch:
            scale.fill(store, entities, items)
        yield _figure(f"made by an import: {name}", "s", [watch.spent.wall_s])
        database.vacuum()
        yield _figure(f"size: {name}", "MB", [database.size_bytes() / 1e6])
        for what, call in _calls(store):
            taken = []
            for _ in range(_RUNS):
                with Stopwatch() as watch:
                    call()
                taken.append(watch.spent.wall_s * 1_000)
            say(f"{what}: {max(taken):.0f} ms")
            yield _figure(f"{what}: {server.name}", "ms", taken, at_most=_AIM_MS)
        for what, call in _wholes(store):
            with Stopwatch() as watch:
                call()
            say(f"{what}: {watch.spent.wall_s * 1000:.0f} ms")
            yield _figure(f"{what}: {server.name}", "ms", [watch.spent.wall_s * 1_000])


def _calls(store: belaypin.Store) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every page and count that is to take less than 100 ms."""
    yield "pipelines", store.pipelines
    for kind, terms in (("entities", _TERMS), ("streams", (*_TERMS, *_STREAM_TERMS))):
        listed = getattr(store, kind)
        for order in _ORDERS:
            for term in terms:
                where = f'"{term}"' if term.startswith("user:") else term
                yield f"{kind} by {order} [{term}]", _page(listed, where, order)
        for term in terms:
            where = f'"{term}"' if term.startswith("user:") else term
            yield f"count of {kind} [{term}]", _count(store, where, kind)
    for where in ("", "state:live", "state:released", "owner:host*"):
        yield f"leases [{where}]", lambda where=where: store.leases(where)  # type: ignore[misc]
    yield "gap_list", store.gap_list
    key = (scale.PIPELINE, "user:00000501", "posts")
    yield "items", lambda: store.items(key)
    yield "items that contain 7", lambda: store.items(key, contains="7")
    yield "operations", store.operations


def _page(listed: Callable[..., object], where: str, order: str) -> Callable[[], object]:
    """A page from the middle of the store, and in all pipelines."""
    return lambda: listed(where, order=order, limit=100)


def _count(store: belaypin.Store, where: str, kind: str) -> Callable[[], object]:
    return lambda: store.count(where, kind)  # type: ignore[arg-type]


def _wholes(store: belaypin.Store) -> Iterator[tuple[str, Callable[[], object]]]:
    """What looks at every row."""
    yield "status of the pipeline", lambda: store.status(scale.PIPELINE)
    yield "status of an entity", lambda: store.status((scale.PIPELINE, "user:00000500"))
    yield "health", store.health
    yield "storage", store.storage
    yield "plan", store.plan


def _figure(name: str, unit: str, samples: list[float], at_most: float | None = None) -> Figure:
    return Figure.of("listing", name, unit, samples, at_most=at_most)
