"""Stopping: a flag that every wait looks at, and the signals that set it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from belaypin.clock import monotonic_s

__all__ = ["Stop", "Stopped", "on_signals"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class Stopped(BaseException):
    """Leave the work in hand: somebody has asked to stop. Not an error of an entity."""


class Stop:
    """Whether to stop, and a wait that ends when it is time to.

    ``due_s`` is a moment on ``monotonic_s``'s clock from which on it says stop by itself.
    """

    def __init__(self, due_s: float | None = None, parent: Stop | None = None) -> None:
        self.due_s = due_s
        self._event = threading.Event()
        self._parent = parent

    def set(self) -> None:
        """Ask everybody to stop at the next page."""
        self._event.set()

    @property
    def is_asked(self) -> bool:
        """Whether somebody has asked to stop, deadlines aside."""
        return self._event.is_set() or (self._parent is not None and self._parent.is_asked)

    def is_set(self) -> bool:
        """Whether it is time to stop."""
        is_due = self.due_s is not None and monotonic_s() >= self.due_s
        return (
            is_due or self._event.is_set() or (self._parent is not None and self._parent.is_set())
        )

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until it is time to stop; whether it is."""
        until_s = monotonic_s() + seconds
        while not self.is_set():
            left_s = until_s - monotonic_s()
            if left_s <= 0:
                return False
            self._event.wait(min(left_s, 0.1))
        return True

    def sleep(self, seconds: float) -> None:
        """Wait so long. Raises Stopped if it is time to stop meanwhile."""
        if self.wait(seconds):
            raise Stopped


@contextlib.contextmanager
def on_signals(stop: Stop) -> Iterator[list[int]]:
    """The first SIGTERM or Ctrl-C asks to stop; the second one ends the process as ever.

    Yields the signals that came. Outside the main thread signals are somebody else's.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before: dict[int, Any] = {}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if not stop.is_asked:
            stop.set()
            return
        _end(number)

    for number in SIGNALS:
        before[number] = signal.signal(number, on_signal)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int) -> None:
    """End the process at once by its signal: nothing is lost, what is committed is durable."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
