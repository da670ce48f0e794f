"""Exits: a writer's line is drained when the process ends, or is told to end."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from belaypin.errors import UsageError
from belaypin.writing.core import GroupCommit

__all__ = ["drain_at_exit"]

_SIGTERM_DEADLINE_S = 10.0
"""Less than the 30 s after which service managers kill."""


def drain_at_exit(core: GroupCommit, timeout_s: float, *, on_sigterm: bool) -> Callable[[], None]:
    """Drain at the interpreter's exit and, if asked to, at SIGTERM; returns what undoes this."""

    def at_exit() -> None:
        if core.is_over:
            return
        if not core.close(timeout_s):
            _say(f"belaypin: a writer could not drain at exit ({core.last_error})")
        if core.unsaved() or core.take_failures():
            _say(f"belaypin: a writer at exit: {core.report()}")

    restore = _on_sigterm(core, min(timeout_s, _SIGTERM_DEADLINE_S)) if on_sigterm else None
    atexit.register(at_exit)

    def undo() -> None:
        atexit.unregister(at_exit)
        if restore is not None:
            restore()

    return undo


def _on_sigterm(core: GroupCommit, deadline_s: float) -> Callable[[], None]:
    if not _is_main_thread():
        raise UsageError(
            "Only the main thread can have a handler for SIGTERM. Make the writer there, or leave "
            "out drain_on_sigterm and close the writer yourself."
        )

    def handle(number: int, frame: FrameType | None) -> None:
        if not core.is_over:
            core.drain(deadline_s)
            _say(f"belaypin: SIGTERM: {core.report()}")
        if callable(previous):
            previous(number, frame)
        elif previous != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def restore() -> None:
        if signal.getsignal(signal.SIGTERM) is handle and _is_main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)

    previous = signal.signal(signal.SIGTERM, handle)
    return restore


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _say(text: str) -> None:
    """To standard error, past its buffer: a signal may have come while something was written."""
    os.write(2, f"{text}\n".encode())
