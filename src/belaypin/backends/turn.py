"""The turn to write: an SQLite file takes one writer, and a process queues its own fairly."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from belaypin.backends.base import WAITS_FOR_ITSELF
from belaypin.clock import monotonic_s
from belaypin.errors import StoreBusy, UsageError

__all__ = ["Turn"]

_LOOK_AGAIN_S = 1.0  # should a signal have kept somebody from waking who is next


class _Place:
    """A place in the line of those who want to write."""

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.gate = threading.Lock()
        self.gate.acquire()


class Turn:
    """Lets one writer of this process in at a time, in the order in which they came.

    A signal may interrupt a thread anywhere, also where it has just been let in. So nothing is
    locked: to have the turn is to stand first in line, and who leaves does so by name, in vain if
    need be.
    """

    def __init__(self, timeout_s: float) -> None:
        self._line: deque[_Place] = deque()
        self._timeout_s = timeout_s

    @property
    def owner(self) -> int | None:
        """Whose turn it is."""
        try:
            return self._line[0].owner
        except IndexError:
            return None

    def refuse(self, owner: int) -> None:
        """Raise UsageError if it is this owner's turn already."""
        if self.owner == owner:
            raise UsageError(WAITS_FOR_ITSELF)

    def take(self, owner: int) -> None:
        """Wait for the turn. Whatever it raises, the owner has to ``leave``."""
        place = _Place(owner)
        self._line.append(place)
        until_s = monotonic_s() + self._timeout_s
        while self._line[0] is not place:
            left_s = until_s - monotonic_s()
            if left_s <= 0:
                raise StoreBusy(
                    f"Another thread or task of this process held a transaction open for "
                    f"{self._timeout_s:g} s. Keep commit blocks short, then try again."
                )
            place.gate.acquire(timeout=min(left_s, _LOOK_AGAIN_S))

    def leave(self, owner: int) -> None:
        """Give the turn, or the place in line, to whoever is next."""
        for place in [place for place in self._line.copy() if place.owner == owner]:
            with suppress(ValueError):
                self._line.remove(place)
        with suppress(IndexError, RuntimeError):  # nobody waits, or was woken already
            self._line[0].gate.release()
