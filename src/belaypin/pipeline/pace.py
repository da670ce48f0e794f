"""Pace: how fast a source may be asked, and when to ask again after it failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from math import isnan
from typing import Any, TypeVar

import belaypin
from belaypin.clock import jitter, monotonic_s, now_us
from belaypin.pipeline.parts import Limits
from belaypin.pipeline.stopping import Stop

__all__ = ["Pace", "retry_after_s"]

T = TypeVar("T")

_LONGEST_S = 3600.0


class Pace:
    """The pace at which one source is asked by all threads of this process."""

    def __init__(self, limits: Limits) -> None:
        self._gap_s = 1 / limits.rate if limits.rate else 0.0
        self._lock = threading.Lock()
        self._next_s = 0.0
        self._slots = threading.Semaphore(limits.concurrency) if limits.concurrency else None

    def call(self, ask: Callable[[], T], retry: belaypin.Retry, stop: Stop) -> T:
        """Call ``ask`` when it may be, and again if it fails as ``retry`` says.

        A failure that names a time to wait (``Retry-After``) holds up everybody who asks this
        source. Raises what ``ask`` raised last, and Stopped if it is time to stop meanwhile.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._ask(ask, stop)
            except Exception as error:
                if not retry.covers(error) or retry.gives_up(error):
                    raise
                delay_us = retry.delay_us(attempt, jitter(0, 1))
                if delay_us is None:
                    raise
                told_s = retry_after_s(error)
                if told_s is not None:
                    self._hold(told_s)
                stop.firm.sleep(max(delay_us / 1_000_000, told_s or 0))

    def _ask(self, ask: Callable[[], T], stop: Stop) -> T:
        if self._slots is None:
            self._take_turn(stop)
            return ask()
        while not self._slots.acquire(timeout=0.1):
            stop.firm.sleep(0)
        try:
            self._take_turn(stop)
            return ask()
        finally:
            self._slots.release()

    def _take_turn(self, stop: Stop) -> None:
        with self._lock:
            now_s = monotonic_s()
            turn_s = max(now_s, self._next_s)
            self._next_s = turn_s + self._gap_s
        stop.firm.sleep(turn_s - now_s)

    def _hold(self, seconds: float) -> None:
        with self._lock:
            self._next_s = max(self._next_s, monotonic_s() + seconds)


def retry_after_s(error: BaseException) -> float | None:
    """The seconds that a failed answer asks to wait, from its ``Retry-After``; None: it does not.

    Knows an error with a ``response`` that has ``headers`` (httpx, requests, aiohttp and others),
    or with a ``retry_after`` of its own. At most an hour is waited.

    >>> class TooMany(Exception):
    ...     retry_after = "2"
    >>> retry_after_s(TooMany())
    2.0
    """
    told: Any = getattr(error, "retry_after", None)
    if told is None:
        headers: Any = getattr(getattr(error, "response", error), "headers", {})
        told = headers.get("Retry-After") if hasattr(headers, "get") else None
    if told is None:
        return None
    try:
        seconds = float(told)
    except (TypeError, ValueError):
        try:
            at = parsedate_to_datetime(str(told))
        except (TypeError, ValueError):
            return None
        seconds = at.timestamp() - now_us() / 1_000_000
    if isnan(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_S)
