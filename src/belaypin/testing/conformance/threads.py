"""What the sync side has instead of an event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from belaypin.clock import sleep_s

__all__ = ["in_threads", "sleep_s"]

T = TypeVar("T")


def in_threads(calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Make each call in a thread of its own; returns what each returned or raised.

    >>> in_threads([lambda: 1, lambda: 2])
    [1, 2]
    """

    def outcome(call: Callable[[], T]) -> T | BaseException:
        try:
            return call()
        except BaseException as error:  # noqa: BLE001 -- handed to the caller
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(outcome, calls))
