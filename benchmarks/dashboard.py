"""What a page of the dashboard takes in a large store, and what five open ones cost a writer.

python -m benchmarks.dashboard URL measures both in a store that is there already, to which it adds a
pipeline of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx

import belaypin
from benchmarks import scale
from benchmarks.databases import Server
from benchmarks.figures import Figure, Stopwatch, say
from benchmarks.report import print_tables

__all__ = ["PAGES", "measure", "serving"]

_RUNS = 5
_AIM_MS = 300.0
_OF_ENTITY = f"pipeline={scale.PIPELINE}&entity=user:00000501"
PAGES = {
    "overview": "/",
    "overview of a pipeline": f"/?pipeline={scale.PIPELINE}",
    "coverage": "/coverage",
    "coverage with gaps": "/coverage?q=gaps>0",
    "coverage by key": "/coverage?order=key",
    "entity": f"/entity?{_OF_ENTITY}",
    "stream": f"/entity?{_OF_ENTITY}&stream=posts",
    "item": f"/entity?{_OF_ENTITY}&stream=posts&item=33400&numeric=true",
    "recovery": "/recovery",
    "failures": "/failures",
    "leases": "/leases",
    "items": "/items",
    "items, an entity": "/items?q=entity:user:00000501",
    "items, a word": "/items?q=00999",
    "items, failed": "/items?q=state:failed",
    "items, error": '/items?q=error~"429"',
    "items, lag": "/items?q=lag>6d&order=lag",
    "items, lag by change": "/items?q=lag>6d&order=updated",
    "items, interrupted": "/items?kind=streams&q=stream:posts state:interrupted lag>1h",
    "items of a stream": f"/items?{_OF_ENTITY}&stream=posts",
    "storage": "/storage",
    "efficiency": "/efficiency",
    "activity": "/activity",
    "api: entities": "/api/entities",
    "api: streams by lag": "/api/streams?order=lag",
    "api: health": "/api/health",
}
"""Each page as it is first opened, and with filters that narrow much and little."""

_OPEN = ("overview", "coverage", "entity", "failures", "items")
_STRETCH_S = 12.0
_PAGE_ITEMS = 500


def measure(server: Server, entities: int, items: int) -> Iterator[Figure]:
    """In a store of that size, made for it."""
    with server.fresh() as database:
        say(f"dashboard: {server.name}, {entities:,} entities, {items:,} items")
        with belaypin.open(database.url) as store:
            scale.fill(store, entities, items)
        database.vacuum()
        name = f"{server.name}, {entities:,} entities"
        yield from _pages(database.url, name)
        yield from _watched(database.url, name)


@contextmanager
def serving(url: str) -> Iterator[httpx.Client]:
    """``belaypin ui`` as a process of its own, and a client of it."""
    belaypin_command = str(Path(sys.executable).parent / "belaypin")
    command = [belaypin_command, "ui", "--port", "0", "--jsonl", "--store", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = json.loads(process.stdout.readline())["url"]
            with httpx.Client(base_url=address, timeout=120) as client:
                yield client
        finally:
            process.terminate()


def _pages(url: str, name: str) -> Iterator[Figure]:
    """Each page's first request to a new dashboard, and the median of those that follow."""
    with serving(url) as client:
        for page, path in PAGES.items():
            taken = [_spent_ms(client, path) for _ in range(_RUNS + 1)]
            say(f"{page}: first {taken[0]:.0f} ms, then {sorted(taken[1:])[_RUNS // 2]:.0f} ms")
            yield _figure(f"{page}: first, {name}", "ms", taken[:1], at_most=_AIM_MS)
            yield _figure(f"{page}: {name}", "ms", taken[1:], at_most=_AIM_MS)


def _spent_ms(client: httpx.Client, path: str) -> float:
    with Stopwatch() as watch:
        answer = client.get(path)
    answer.raise_for_status()
    return watch.spent.wall_s * 1_000


def _watched(url: str, name: str) -> Iterator[Figure]:
    """Pages of 500 items committed in turns without a dashboard and with five pages of one.

    It is a new one each time: all its figures are read while the writer works.
    """
    alone, watched, slowest = [], [], [0.0, 0.0]
    with belaypin.open(url) as store:
        writer = _Writer(store)
        writer.commits_per_s(2.0)
        for _ in range(_RUNS):
            alone.append(writer.commits_per_s(_STRETCH_S))
            slowest[0] = max(slowest[0], writer.slowest_s)
            with serving(url) as client, _five_open(client):
                watched.append(writer.commits_per_s(_STRETCH_S))
            slowest[1] = max(slowest[1], writer.slowest_s)
            say(f"commits/s: {alone[-1]:.0f} alone, {watched[-1]:.0f} with five dashboards")
    yield _figure(f"commits alone: {name}", "/s", alone)
    yield _figure(f"commits beside five open dashboards: {name}", "/s", watched)
    ratios = [one / other for one, other in zip(watched, alone, strict=True)]
    yield _figure(f"throughput beside five / alone: {name}", "x", ratios, at_least=0.9)
    yield _figure(f"slowest commit alone: {name}", "ms", [slowest[0] * 1_000])
    yield _figure(f"slowest commit beside five: {name}", "ms", [slowest[1] * 1_000])


class _Writer:
    """The usual loop, in a pipeline of its own, with nothing to do but commit."""

    def __init__(self, store: belaypin.Store) -> None:
        self._store = store
        self._numbers = count()
        self.slowest_s = 0.0

    def commits_per_s(self, seconds: float) -> float:
        """Commit for so long."""
        self.slowest_s, commits = 0.0, 0
        with (
            Stopwatch() as whole,
            self._store.lease("watched", f"user:{next(self._numbers)}") as lease,
        ):
            window = next(iter(lease.windows("posts", since="30d", overlap="1h")))
            done = threading.Event()
            timer = threading.Timer(seconds, done.set)
            timer.start()
            for page in window.pages(
                lambda _: (self._page(), None if done.is_set() else next(self._numbers))
            ):
                with Stopwatch() as watch, page.commit() as tx:
                    tx.fresh(page.items, key="id")
                self.slowest_s = max(self.slowest_s, watch.spent.wall_s)
                commits += 1
        return commits / whole.spent.wall_s

    def _page(self) -> list[dict[str, int]]:
        return [{"id": next(self._numbers)} for _ in range(_PAGE_ITEMS)]


@contextmanager
def _five_open(client: httpx.Client) -> Iterator[None]:
    """Five pages that look again with every tick, as they do in a browser's window."""
    closed = threading.Event()
    threads = [threading.Thread(target=_look, args=(client, PAGES[p], closed)) for p in _OPEN]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        closed.set()
        for thread in threads:
            thread.join()


def _look(client: httpx.Client, path: str, closed: threading.Event) -> None:
    client.get(path).raise_for_status()
    with client.stream("GET", "/events") as events:
        for line in events.iter_lines():
            if closed.is_set():
                return
            if line == "event: tick":
                client.get(path).raise_for_status()


def _figure(
    name: str,
    unit: str,
    samples: list[float],
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    return Figure.of("dashboard", name, unit, samples, at_most=at_most, at_least=at_least)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("url", help="of the store")
    url = parser.parse_args().url
    name = url.partition(":")[0]
    print_tables([*_pages(url, name), *_watched(url, name)], {})


if __name__ == "__main__":
    main()
