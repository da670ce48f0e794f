"""Forks: a child process must leave its parent's database connections alone.

Even closing an inherited SQLite connection would roll back the parent's open transaction on disk,
and one byte on an inherited socket would break the parent's session. So a child neither uses nor
frees them; it opens the store again.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable

from belaypin.errors import StoreClosed

__all__ = ["ForkGuard"]


class ForkGuard:
    """Knows the process that made it, and what a forked child of it must keep and never touch.

    ``inherited`` returns the connections that are open at the moment of the fork.
    """

    def __init__(self, inherited: Callable[[], Iterable[object]] = tuple) -> None:
        self.is_child = False
        """Whether this is a forked child of the process that opened the store."""
        self._inherited = inherited
        _guards.add(self)

    def check(self) -> None:
        """Raise StoreClosed in a forked child."""
        if self.is_child:
            raise StoreClosed(
                "This process was forked from the one that opened the store, and a database "
                "connection can't be shared. Call belaypin.open() again in this process."
            )

    def abandon(self) -> None:
        """In a child: keep what was inherited from ever being freed."""
        self.is_child = True
        inherited = list(self._inherited())
        if inherited:
            import ctypes

            for connection in inherited:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


_guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()


def _after_in_child() -> None:
    for guard in list(_guards):
        guard.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_in_child)
