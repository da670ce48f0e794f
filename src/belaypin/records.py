"""The records that the store hands out: frozen, typed, with times as aware datetimes in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec

from belaypin.errors import UsageError
from belaypin.keys import Key

__all__ = ["Checkpoint", "Interval"]

State = TypeVar("State")


class Interval(msgspec.Struct, frozen=True, order=True):
    """A half-open stretch of event time, ``[start, end)``; both ends are aware datetimes.

    >>> from datetime import timezone
    >>> day = Interval(datetime(2024, 1, 1, tzinfo=timezone.utc),
    ...                datetime(2024, 1, 2, tzinfo=timezone.utc))
    >>> str(day.duration)
    '1 day, 0:00:00'
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        """Refuse naive ends, and an end before the start."""
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise UsageError("the ends of an interval must be aware datetimes: set their tzinfo.")
        if self.end < self.start:
            raise UsageError(f"an interval must not end before it starts: {self}.")

    @property
    def duration(self) -> timedelta:
        """How long the interval is."""
        return self.end - self.start

    def __str__(self) -> str:
        """Return the interval in ISO 8601, with its half-open brackets."""
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


class Checkpoint(msgspec.Struct, Generic[State], frozen=True):
    """The durable record at a key, as it was when it was read.

    ``version`` grows by one with every write; pass it as ``expected_version`` to write only if
    nobody else has. ``schema_version`` says which shape of ``state`` was stored. Of a stream,
    ``items`` counts what was committed, ``skipped`` what was seen again, ``changed`` what was
    committed again with other content, and ``late`` what came when its time was covered already.
    """

    key: Key
    state: State
    version: int
    schema_version: int
    content_hash: str | None
    status: str
    attempts: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    items: int = 0
    skipped: int = 0
    changed: int = 0
    late: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the work at this key was declared finished."""
        return self.completed_at is not None

    @property
    def processing_duration(self) -> timedelta:
        """From creation to completion or, while not complete, to the last write."""
        return (self.completed_at or self.updated_at) - self.created_at
