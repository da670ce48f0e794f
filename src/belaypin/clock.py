"""Time and chance: the only module that may ask the machine for either.

Everything else takes them as arguments, so that tests can pin them.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

__all__ = [
    "Clock",
    "SystemClock",
    "jitter",
    "monotonic_s",
    "now_us",
    "sleep_s",
    "unique_id",
]


class Clock(Protocol):
    """Something that tells the time in microseconds since 1970-01-01T00:00:00Z."""

    def now_us(self) -> int:
        """Return the time now."""


class SystemClock:
    """The machine's own clock.

    >>> SystemClock().now_us() > 1_700_000_000_000_000
    True
    """

    __slots__ = ()

    def now_us(self) -> int:
        """Return the wall-clock time; it may jump when the machine's clock is set."""
        return now_us()


def now_us() -> int:
    """Return the wall-clock time in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1_000


def monotonic_s() -> float:
    """Return seconds since an arbitrary moment; they never go back. For measuring only."""
    return time.monotonic()


def sleep_s(seconds: float) -> None:
    """Block this thread for so many seconds; zero or less returns at once."""
    if seconds > 0:
        time.sleep(seconds)


def unique_id() -> str:
    """Return 128 random bits as 32 hexadecimal digits; never repeats, also after a fork."""
    return os.urandom(16).hex()


def jitter(low: float, high: float) -> float:
    """Return a random number between the two, so that waiting workers do not wake together."""
    import random  # costs as much as all the rest here, and is asked by those who wait

    return random.uniform(low, high)
