"""Loose saves: states a second of a writer with eight threads, against one commit for each save."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import belaypin
from benchmarks.databases import Server
from benchmarks.figures import Figure, say

__all__ = ["measure"]

_THREADS = 8
_SECONDS = 1.0
_RUNS = 3
_KEYS = 100
_AIM = 3.0

Save = Callable[[tuple[str, str], Any], object]


def measure(server: Server) -> list[Figure]:
    """The ratio is to one thread that calls ``store.save``, measured right before each run."""
    say(f"saves: {server.name}")
    names = ("one by one", "store.save in 8 threads", "writer, sync", "writer, async")
    rates: dict[str, list[float]] = {name: [] for name in names}
    with server.fresh() as database, belaypin.open(database.url) as store:
        for _ in range(_RUNS):
            rates[names[0]].append(_rate(store.save, 1))
            rates[names[1]].append(_rate(store.save, _THREADS))
            with store.writer() as writer:
                rates[names[2]].append(_rate(writer.save, _THREADS))
            with store.writer(durability="async") as writer:
                rates[names[3]].append(_rate(writer.save, _THREADS))
    figures = [Figure.of("saves", f"{server.name}, {n}", "states/s", r) for n, r in rates.items()]
    for name in names[1:]:
        pairs = zip(rates[name], rates[names[0]], strict=True)
        ratios = [many / one for many, one in pairs]
        aim = _AIM if name.startswith("writer") else None
        text = f"{server.name}, {name}, to one by one"
        figures.append(Figure.of("saves", text, "x", ratios, at_least=aim))
    return figures


def _rate(save: Save, threads: int) -> float:
    done = [0] * threads
    began_s = time.perf_counter()

    def work(thread: int) -> None:
        for number in count():
            if time.perf_counter() - began_s > _SECONDS:
                return
            save(("saves", f"{thread}:{number % _KEYS}"), {"number": number})
            done[thread] += 1

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - began_s)
