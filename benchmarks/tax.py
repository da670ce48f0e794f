"""Tax: the time of the loop with belaypin over the time of the same loop without a checkpoint."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import belaypin
from benchmarks.databases import Server
from benchmarks.figures import Figure, Spent, Stopwatch, say
from benchmarks.loops import baseline, mine, writer
from benchmarks.source import IdKind, Source

__all__ = ["Case", "cases", "measure"]

_PAGE_ITEMS = (50, 500)
_PAGES = {50: 200, 500: 100}
_AIMS = {"executemany": 1.25, "copy": 1.3}  # at 500 a page


class Case(NamedTuple):
    """One way to run the loop."""

    writer: str
    page_items: int
    pages: int
    aim: float | None = None
    ids: IdKind = "text"
    options: dict[str, Any] = {}  # noqa: RUF012 -- never changed
    label: str = ""


def cases(server: Server) -> Iterator[Case]:
    """Bulk writes and one statement an item, each at both page sizes; then what options cost."""
    bulk = server.bulk
    for page_items in _PAGE_ITEMS:
        aim = _AIMS[bulk] if page_items == max(_PAGE_ITEMS) else None
        yield Case(bulk, page_items, _PAGES[page_items], aim)
        yield Case("execute", page_items, _PAGES[page_items] // (1 if bulk == "executemany" else 4))
    yield Case(bulk, 500, 100, ids="random", label="random ids")
    yield Case(bulk, 500, 100, options={"at": "created_at"}, label="with at=")
    content = {"content": ["title", "body", "score"]}
    yield Case(bulk, 500, 100, options=content, label="with content=")


def measure(server: Server, case: Case, pairs: int) -> Figure:
    """Run the two loops in turn, each on a fresh database, ``pairs`` times; the order alternates."""
    name = f"{server.name}, {case.writer}, {case.page_items} a page"
    name += f", {case.label}" if case.label else ""
    say(f"tax: {name}")
    source = Source(case.ids, case.pages * case.page_items, case.page_items)
    ratios: list[Spent] = []
    for pair in range(-1, pairs):  # the first one only warms up
        runs = (_ours, _theirs) if pair % 2 else (_theirs, _ours)
        spent = {run: run(server, case, source) for run in runs}
        ours, theirs = spent[_ours], spent[_theirs]
        ratios.append(Spent(ours.wall_s / theirs.wall_s, ours.cpu_s / theirs.cpu_s))
    del ratios[0]
    wall, cpu = zip(*ratios, strict=True)
    return Figure.of("tax", name, "x", wall, cpu=cpu, at_most=case.aim)


def _ours(server: Server, case: Case, source: Source) -> Spent:
    with server.fresh() as database, belaypin.open(database.url) as store:
        write = writer(case.writer, database.insert)
        return _drained(mine(store, source.fetch, write, **case.options))


def _theirs(server: Server, case: Case, source: Source) -> Spent:
    with server.fresh() as database:
        plain = database.plain()
        try:
            return _drained(baseline(plain, source.fetch, writer(case.writer, database.insert)))
        finally:
            plain.close()


def _drained(loop: Iterator[None]) -> Spent:
    gc.collect()
    with Stopwatch() as watch:
        deque(loop, maxlen=0)
    return watch.spent
