"""Pipelines: items a second on each engine, with one worker and with two."""

from __future__ import annotations

import hashlib
import time
from importlib.util import find_spec
from typing import Any

import belaypin
from benchmarks.databases import Server
from benchmarks.figures import Figure, say

__all__ = ["measure"]

_ENGINES = ("serial", "threads:1", "threads:2", "processes:1", "processes:2")
_CLUSTERS = {"dask": "distributed", "ray": "ray"}
"""Engines that need a package, measured where it is installed, as in build/integrations."""
_RUNS = 3
_ENTITIES = 40
_PAGES = 5
_PAGE = 100
_FETCH_S = 0.02
_BUSY_ROUNDS = 300

waiting = belaypin.Pipeline("waiting")
busy = belaypin.Pipeline("busy")


def _page(cursor: Any) -> tuple[list[dict[str, int]], int | None]:
    at = cursor or 0
    items = [{"id": at * _PAGE + n} for n in range(_PAGE)]
    return items, at + 1 if at + 1 < _PAGES else None


def _tables(store: belaypin.Store) -> None:
    store.execute("CREATE TABLE IF NOT EXISTS found (id BIGINT, entity TEXT, digest TEXT)")


def _declare(pipeline: belaypin.Pipeline, wait_s: float, rounds: int) -> None:
    pipeline.setup(_tables)
    pipeline.entities(lambda: range(_ENTITIES))

    @pipeline.source("items", since="30d")
    def fetch(_entity: str, _window: belaypin.Window, cursor: Any) -> Any:
        time.sleep(wait_s)
        return _page(cursor)

    @pipeline.items("items")
    def store(tx: belaypin.Work, items: list[dict[str, int]], entity: str) -> None:
        rows = [(item["id"], entity, _digest(item["id"], rounds)) for item in items]
        tx.copy("found", ("id", "entity", "digest"), rows)


def _digest(number: int, rounds: int) -> str:
    """Work that keeps the interpreter busy: short texts are hashed without letting go of it."""
    text = str(number).encode()
    for _ in range(rounds):
        text = hashlib.sha256(text).digest()
    return text.hex()


_declare(waiting, _FETCH_S, 1)
_declare(busy, 0, _BUSY_ROUNDS)


def measure(server: Server) -> list[Figure]:
    """A new worker process takes part of a second to begin; that is counted.

    Clusters of Dask and Ray begin before the run's clock does: they take seconds.
    """
    figures = []
    for name, pipeline in (
        (f"fetches that wait {_FETCH_S * 1000:.0f} ms", waiting),
        ("handlers that compute", busy),
    ):
        for engine in (*_ENGINES, *_clusters()):
            say(f"engines: {server.name}, {name}, {engine}")
            rates = [_rate(server, pipeline, engine) for _ in range(_RUNS)]
            text = f"{server.name}, {name}: {engine}"
            figures.append(Figure.of("engines", text, "items/s", rates))
    return figures


def _clusters() -> list[str]:
    found = [name for name, package in _CLUSTERS.items() if find_spec(package)]
    return [f"{name}:{workers}" for name in found for workers in (1, 2)]


def _rate(server: Server, pipeline: belaypin.Pipeline, engine: str) -> float:
    with server.fresh() as database:
        report = pipeline.run(database.url, engine=engine)
    if report.exit_code or report.items != _ENTITIES * _PAGES * _PAGE:
        raise RuntimeError(str(report))
    return report.items_per_s
