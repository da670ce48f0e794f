"""Skip rate: items a second of a later run over the same data, in which nothing is new."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Sequence
from typing import Any

import belaypin
from benchmarks.databases import Server
from benchmarks.figures import Figure, Spent, Stopwatch, say
from benchmarks.loops import Fetch, mine, writer
from benchmarks.source import PAGE_ITEMS, IdKind, Item, Source

__all__ = ["measure"]

_ITEMS = 200_000
_AIM = 1_000_000


def measure(server: Server, runs: int) -> list[Figure]:
    """Each run takes a new lease, so reading the ledger is in the time."""
    figures = []
    kinds: tuple[IdKind, ...] = ("text", "random")
    for kind in kinds:
        say(f"skip: {server.name}, {kind} ids, {_ITEMS:,} items")
        source = Source(kind, _ITEMS, PAGE_ITEMS)
        with server.fresh() as database, belaypin.open(database.url) as store:
            deque(mine(store, source.fetch, writer(server.bulk, database.insert)), maxlen=0)
            decoded = [source.fetch(page) for page in range(source.pages)]
            ready = [_again(store, _from(decoded)) for _ in range(runs)]
            whole = [_again(store, source.fetch) for _ in range(runs)]
        name = f"{server.name}, {kind} ids"
        figures += [
            _figure(f"{name}, pages decoded already", ready, _AIM),
            _figure(f"{name}, decoding JSON included", whole, None),
        ]
    return figures


def _from(pages: Sequence[tuple[list[Item], Any]]) -> Fetch:
    return lambda cursor: pages[cursor or 0]


def _again(store: belaypin.Store, fetch: Fetch) -> Spent:
    gc.collect()
    with Stopwatch() as watch:
        deque(mine(store, fetch, _nothing_is_new), maxlen=0)
    return watch.spent


def _nothing_is_new(tx: Any, items: Sequence[Item]) -> None:
    del tx
    raise AssertionError(f"{len(items)} items were taken for new in a second run")


def _figure(name: str, spent: Sequence[Spent], aim: float | None) -> Figure:
    wall, cpu = zip(*spent, strict=True)
    rates = [_ITEMS / seconds for seconds in wall]
    cpu_rates = [_ITEMS / seconds for seconds in cpu]
    return Figure.of("skip", name, "items/s", rates, cpu=cpu_rates, at_least=aim)
