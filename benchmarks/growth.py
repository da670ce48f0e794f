"""Growth: what the items at the end of a long stream cost, against those at its beginning.

The loop with belaypin and the loop without run in turns, page by page, each on its own database. So
what the database itself loses as its tables grow is in both, and not in their ratio.
"""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import belaypin
from benchmarks import first_commit
from benchmarks.databases import Database, Server
from benchmarks.figures import Figure, Spent, Stopwatch, say
from benchmarks.loops import baseline, mine, writer
from benchmarks.source import PAGE_ITEMS, IdKind, Source

__all__ = ["measure"]

_SLICE_PAGES = 64  # belaypin merges segments after so many commits: a slice has one merge in it
_SLICES = 5
_NEW_PROCESSES = 5
_START_ITEMS = 10_000
_AIM = 1.2


class Slice(NamedTuple):
    """Some consecutive pages of the stream, the last of which ends at item ``end``."""

    end: int
    ours: Spent
    theirs: Spent

    @property
    def tax(self) -> Spent:
        ours, theirs = self.ours, self.theirs
        return Spent(ours.wall_s / theirs.wall_s, ours.cpu_s / theirs.cpu_s)


def measure(server: Server, kind: IdKind, items: int) -> list[Figure]:
    """Run one stream to ``items`` in a process of its own, whose peak memory is a figure too."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_measured, server, kind, items).result()


def _measured(server: Server, kind: IdKind, items: int) -> list[Figure]:
    name = f"{server.name}, {kind} ids"
    say(f"growth: {name}, to {items:,} items")
    idle_mb = _peak_mb()
    starts = [piece for _ in range(_SLICES) for piece in _stream(server, kind, _START_ITEMS)]
    with server.fresh() as ours, server.fresh() as theirs:
        pieces = list(_slices(server, ours, theirs, Source(kind, items, PAGE_ITEMS, keep=False)))
        peak_mb = _peak_mb() - idle_mb
        pages = range(items // PAGE_ITEMS, items // PAGE_ITEMS + _NEW_PROCESSES)
        first_s = [first_commit.seconds(ours.url, ours.insert, kind, page) for page in pages]
    figures = [_tax(name, _START_ITEMS, starts)]
    for mark in (10**power for power in range(5, 10) if 10**power <= items):
        reached = [piece for piece in pieces if piece.end <= mark][-_SLICES:]
        figures += [_tax(name, mark, reached), _growth(name, mark, reached, starts)]
    after = f"{name}: new process to its first commit, after {items:,}"
    return [
        *figures,
        Figure.of("growth", f"{name}: peak memory above idle, to {items:,}", "MB", [peak_mb]),
        Figure.of("growth", after, "s", first_s, at_most=1.0),
    ]


def _stream(server: Server, kind: IdKind, items: int) -> list[Slice]:
    with server.fresh() as ours, server.fresh() as theirs:
        return list(_slices(server, ours, theirs, Source(kind, items, PAGE_ITEMS, keep=False)))


def _slices(server: Server, ours: Database, theirs: Database, source: Source) -> Iterator[Slice]:
    """Run both loops to the end of the source, in turns; the order alternates."""
    plain = theirs.plain()
    with belaypin.open(ours.url) as store:
        with_it = mine(store, source.fetch, writer(server.bulk, ours.insert))
        without = baseline(plain, source.fetch, writer(server.bulk, theirs.insert))
        our_s, their_s = Spent(), Spent()
        for page in range(1, source.pages + 1):
            source.body(page - 1)  # made now, outside the time
            if page % 2:
                our_s = our_s.plus(_step(with_it))
            their_s = their_s.plus(_step(without))
            if not page % 2:
                our_s = our_s.plus(_step(with_it))
            if page % _SLICE_PAGES == 0 or page == source.pages:
                yield Slice(page * PAGE_ITEMS, our_s, their_s)
                our_s, their_s = Spent(), Spent()
            if page % 1000 == 0:
                say(f"  {page * PAGE_ITEMS:,} items, {_peak_mb():.0f} MB")
        next(with_it, None)
    plain.close()


def _step(loop: Iterator[None]) -> Spent:
    with Stopwatch() as watch:
        next(loop)
    return watch.spent


def _tax(name: str, mark: int, pieces: Sequence[Slice]) -> Figure:
    wall, cpu = zip(*(piece.tax for piece in pieces), strict=True)
    return Figure.of("growth", f"{name}: tax at {mark:,}", "x", wall, cpu=cpu)


def _growth(name: str, mark: int, pieces: Sequence[Slice], starts: Sequence[Slice]) -> Figure:
    start, start_cpu = _tax(name, mark, starts).median, _tax(name, mark, starts).cpu or 1
    wall, cpu = zip(*(piece.tax for piece in pieces), strict=True)
    return Figure.of(
        "growth",
        f"{name}: {mark:,} against {_START_ITEMS:,}",
        "x",
        [tax / start for tax in wall],
        cpu=[tax / start_cpu for tax in cpu],
        at_most=_AIM,
    )


def _peak_mb() -> float:
    """The most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss of a new process begins with its parent's
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024)
