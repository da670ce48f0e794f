"""Bytes per item: how much larger the database is with belaypin than without it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import belaypin
from benchmarks.databases import Database, Server
from benchmarks.figures import Figure, say
from benchmarks.loops import baseline, mine, writer
from benchmarks.source import ID_KINDS, PAGE_ITEMS, IdKind, Source

__all__ = ["measure"]

_ITEMS: dict[IdKind, int] = {"text": 200_000, "int": 200_000, "random": 1_000_000}
_VACUUM_PAGES = 40
"""A miner that is polite to its source needs minutes for 20,000 items; autovacuum looks each minute."""

_NAMES = {"text": "zero-padded texts", "int": "integers", "random": "times 128 random bits"}
_AIMS = {"text": 8.0, "int": 8.0, "random": 20.0}


def measure(server: Server) -> Iterator[Figure]:
    """One figure for each kind of id; everything counts: rows, indexes, free pages, all tables."""
    for kind in ID_KINDS:
        items = _ITEMS[kind]
        name = f"{server.name}, {items:,} {_NAMES[kind]}"
        say(f"bytes: {name}")
        source = Source(kind, items, PAGE_ITEMS, keep=False)
        with server.fresh() as with_it, server.fresh() as without_it:
            added = _with(with_it, source, server.bulk) - _without(without_it, source, server.bulk)
        aim = _AIMS[kind]
        yield Figure.of("bytes", name, "bytes", [added / items], at_most=aim)


def _with(database: Database, source: Source, bulk: str) -> int:
    with belaypin.open(database.url) as store:
        _run(mine(store, source.fetch, writer(bulk, database.insert)), database)
    return database.size_bytes()


def _without(database: Database, source: Source, bulk: str) -> int:
    plain = database.plain()
    _run(baseline(plain, source.fetch, writer(bulk, database.insert)), database)
    plain.close()
    return database.size_bytes()


def _run(loop: Iterator[None], database: Database) -> None:
    while list(islice(loop, _VACUUM_PAGES)):
        database.vacuum()
