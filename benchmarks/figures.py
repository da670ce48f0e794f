"""What a benchmark returns: figures, each with its spread and what was aimed at."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

__all__ = ["Figure", "Spent", "Stopwatch", "say"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured quantity: the median of its samples, and the least and the largest of them."""

    section: str
    name: str
    unit: str
    median: float
    low: float
    high: float
    cpu: float | None = None
    """The same by this process's CPU time: less noisy, but blind to the disk and the server."""
    at_most: float | None = None
    at_least: float | None = None

    @classmethod
    def of(
        cls,
        section: str,
        name: str,
        unit: str,
        samples: Sequence[float],
        *,
        cpu: Sequence[float] = (),
        at_most: float | None = None,
        at_least: float | None = None,
    ) -> Self:
        return cls(
            section=section,
            name=name,
            unit=unit,
            median=statistics.median(samples),
            low=min(samples),
            high=max(samples),
            cpu=statistics.median(cpu) if cpu else None,
            at_most=at_most,
            at_least=at_least,
        )

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; None if there is none."""
        if self.at_most is not None:
            return self.median <= self.at_most
        return None if self.at_least is None else self.median >= self.at_least


class Spent(NamedTuple):
    """Seconds by the clock on the wall, and of this process's CPU time."""

    wall_s: float = 0.0
    cpu_s: float = 0.0

    def plus(self, other: Spent) -> Spent:
        return Spent(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


class Stopwatch:
    """``with Stopwatch() as watch: ...``, then ``watch.spent``."""

    spent = Spent()

    def __enter__(self) -> Self:
        self._began = Spent(time.perf_counter(), time.process_time())
        return self

    def __exit__(self, *exc: object) -> None:
        began = self._began
        self.spent = Spent(time.perf_counter() - began.wall_s, time.process_time() - began.cpu_s)


def say(text: str) -> None:
    """Progress, for the person who waits."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)
