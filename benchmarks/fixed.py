"""Fixed costs, whatever the number of items: the import, a store, an entity."""

from __future__ import annotations

import subprocess
import sys

import belaypin
from benchmarks.databases import Server
from benchmarks.figures import Figure, Stopwatch, say

__all__ = ["import_time", "store_time"]

_RUNS = 20
_AIM_MS = 150.0
_IMPORT = """
import time
began = time.perf_counter()
import belaypin
print(time.perf_counter() - began)
"""


def import_time() -> Figure:
    """What ``import belaypin`` adds to a bare interpreter, each time in a new process."""
    say("fixed: import")
    _import_ms()  # the first one may still compile
    samples = [_import_ms() for _ in range(_RUNS)]
    return Figure.of("fixed", "import belaypin", "ms", samples, at_most=_AIM_MS)


def store_time(server: Server) -> list[Figure]:
    """Opening a store, new and old; then one entity after the other in which there is nothing."""
    say(f"fixed: {server.name}")
    with server.fresh() as database:
        new_ms, *old_ms = [_open_ms(database.url) for _ in range(_RUNS + 1)]
        with belaypin.open(database.url) as store:
            entity_ms = [_entity_ms(store, f"entity {n}") for n in range(_RUNS)]
    return [
        Figure.of("fixed", f"{server.name}, open a new store", "ms", [new_ms]),
        Figure.of("fixed", f"{server.name}, open a store", "ms", old_ms),
        Figure.of("fixed", f"{server.name}, an entity: lease, empty window", "ms", entity_ms),
    ]


def _import_ms() -> float:
    run = subprocess.run([sys.executable, "-c", _IMPORT], capture_output=True, check=True)
    return float(run.stdout) * 1000


def _open_ms(url: str) -> float:
    with Stopwatch() as watch, belaypin.open(url):
        pass
    return watch.spent.wall_s * 1000


def _entity_ms(store: belaypin.Store, entity: str) -> float:
    with Stopwatch() as watch, store.lease("benchmark", entity) as lease:
        for window in lease.windows("posts", since="beginning"):
            for page in window.pages(lambda _: ([], None)):
                with page.commit():
                    pass
    return watch.spent.wall_s * 1000
