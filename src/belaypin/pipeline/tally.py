"""Tallies: what was done, in counts only. They add up, and travel between processes as JSON."""

from __future__ import annotations

import threading

import msgspec

__all__ = ["Outcome", "StreamTally", "Tally"]

ERRORS_KEPT = 20
"""So many errors of entities are kept for the report; all are counted, and stored."""


class StreamTally(msgspec.Struct):
    """What was done in one stream."""

    new: int = 0
    changed: int = 0
    skipped: int = 0
    failed: int = 0
    quarantined: int = 0
    pages: int = 0
    lag_s: float | None = None
    """Of the entity furthest behind, among those visited."""

    def add(self, other: StreamTally) -> None:
        """Add what another one counted."""
        for name in ("new", "changed", "skipped", "failed", "quarantined", "pages"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.lag_s is not None:
            self.lag_s = max(self.lag_s or 0.0, other.lag_s)

    @property
    def handled(self) -> int:
        """Items that took effect."""
        return self.new + self.changed


class Tally:
    """The counts of a run, added to by many threads."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamTally] = {}
        self._lock = threading.Lock()

    def add(self, stream: str, counts: StreamTally) -> None:
        """Add what was counted in a stream."""
        with self._lock:
            self.streams.setdefault(stream, StreamTally()).add(counts)

    def copy(self) -> dict[str, StreamTally]:
        """The counts as they stand now."""
        with self._lock:
            return {name: msgspec.structs.replace(each) for name, each in self.streams.items()}


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one batch of entities.

    Entities are named only where they go back to the runner: those that somebody else holds, and
    those that were not finished. ``streams`` is empty where the runner counts along.
    """

    done: int = 0
    failed: int = 0
    held: list[str] = []
    left: list[str] = []
    errors: list[tuple[str, str]] = []
    streams: dict[str, StreamTally] = {}
    fatal: tuple[str, str] | None = None
    """What went wrong with the store itself: the error's class in belaypin, and its text."""

    def encode(self) -> bytes:
        """The outcome as JSON."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, text: bytes) -> Outcome:
        """The outcome of its JSON."""
        return msgspec.json.decode(text, type=cls)
