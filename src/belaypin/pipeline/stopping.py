"""Stopping: a flag that every wait looks at, and the signals that set it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from belaypin.clock import monotonic_s

__all__ = ["Stop", "Stopped", "on_signals"]

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """Leave the work in hand: it is time to stop. No error of an entity: a lease takes it as Ctrl-C."""


class Stop:
    """Whether to stop, and a wait that ends when it is time to.

    ``due_s`` is a moment on ``monotonic_s``'s clock from which on it says stop by itself. If it is
    the end of a mere ``slice``, the work goes on later: what was begun, such as the tries of a
    fetch, is not cut off then, but only if the ``parent`` says stop.
    """

    def __init__(
        self, due_s: float | None = None, parent: Stop | None = None, *, is_slice: bool = False
    ) -> None:
        self.due_s = due_s
        self.firm: Stop = parent if is_slice and parent is not None else self
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
def on_signals(stop: Stop, interrupt_s: float | None = None) -> Iterator[None]:
    """The first SIGTERM or Ctrl-C asks to stop; the second one ends the process at once.

    After ``interrupt_s`` seconds Stopped is raised in this thread, wherever it is by then. Outside
    the main thread signals are somebody else's to handle.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = _Handler(stop, interrupt_s)
    if stop.due_s is not None and interrupt_s is not None:
        handler.interrupt_after(stop.due_s - monotonic_s() + interrupt_s)
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
        handler.cancel()


class _Handler:
    def __init__(self, stop: Stop, interrupt_s: float | None) -> None:
        self._stop = stop
        self._interrupt_s = interrupt_s
        self._is_over = False
        self._timers: list[threading.Timer] = []

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self._is_over:
            self._is_over = False
            raise Stopped
        if self._stop.is_asked:
            _end(number)
        self._stop.set()
        if self._interrupt_s is not None:
            self.interrupt_after(self._interrupt_s)

    def interrupt_after(self, seconds: float) -> None:
        """Raise Stopped in the main thread after so long."""
        timer = threading.Timer(seconds, self._interrupt)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def cancel(self) -> None:
        """Nothing is to be interrupted any more."""
        for timer in self._timers:
            timer.cancel()

    def _interrupt(self) -> None:
        self._is_over = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _end(number: int) -> None:
    """End this process by its signal: nothing is lost, as what is committed is durable."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
