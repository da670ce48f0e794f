"""The heartbeat: one thread per store that renews what is held, whatever the work is doing.

It has a connection of its own, so neither a long transaction of the work nor a blocked event loop
can starve it. If a lease turns out to be lost, its holder learns of it at its next step. Whether
the heartbeat beats or not, no stale write can pass: every commit checks its fencing token.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from belaypin.backends.base import Backend
from belaypin.clock import monotonic_s
from belaypin.errors import BelaypinError
from belaypin.forks import ForkGuard
from belaypin.program import Program

__all__ = ["BEATS_PER_TTL", "Beat", "Heartbeat"]

BEATS_PER_TTL = 3


class Beat(NamedTuple):
    """Something to renew: ``renew`` makes the program, ``lost`` is called if it isn't ours."""

    renew: Callable[[], Program[bool]]
    lost: Callable[[], None]
    every_s: float


class Heartbeat:
    """Renews what was added until it is removed, and ``stop``s with its store.

    The connection is made when the first beat is due: a short job never needs it.
    """

    def __init__(self, connect: Callable[[], Backend]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._due_s: dict[Beat, float] = {}
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._forks = ForkGuard()

    def add(
        self, renew: Callable[[], Program[bool]], lost: Callable[[], None], ttl_s: float
    ) -> Beat:
        """Renew three times per lifetime from now on."""
        beat = Beat(renew, lost, ttl_s / BEATS_PER_TTL)
        with self._changed:
            self._due_s[beat] = monotonic_s() + beat.every_s
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="belaypin-heartbeat", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        return beat

    def remove(self, beat: Beat) -> None:
        """Stop renewing."""
        if self._forks.is_child:
            return  # the thread, and perhaps the lock, stayed with the parent
        with self._changed:
            self._due_s.pop(beat, None)
            self._changed.notify()

    def stop(self) -> None:
        """Stop renewing everything and wait for the thread to end."""
        if self._forks.is_child:
            return
        with self._changed:
            self._stopped = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        backend: Backend | None = None
        try:
            while (beat := self._next()) is not None:
                try:
                    backend = backend or self._connect()
                    with backend.transaction() as tx:
                        held = tx.run(beat.renew())
                except BelaypinError:
                    # The database is away or busy: the next beat tries again. If it stays away,
                    # the lease expires, and the work's own next commit says what is wrong.
                    continue
                if not held and self._is_wanted(beat):
                    self.remove(beat)
                    beat.lost()
        finally:
            if backend is not None:
                backend.close()

    def _next(self) -> Beat | None:
        """Wait for the next beat that is due; None when the heartbeat was stopped."""
        with self._changed:
            while not self._stopped:
                if not self._due_s:
                    self._changed.wait()
                    continue
                beat = min(self._due_s, key=self._due_s.__getitem__)
                wait_s = self._due_s[beat] - monotonic_s()
                if wait_s <= 0:
                    self._due_s[beat] = monotonic_s() + beat.every_s
                    return beat
                self._changed.wait(wait_s)
            return None

    def _is_wanted(self, beat: Beat) -> bool:
        with self._changed:
            return beat in self._due_s
