"""The records that the store hands out: frozen, typed, with times as aware datetimes in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import msgspec

from belaypin.errors import UsageError
from belaypin.keys import Key

__all__ = [
    "AuditEntry",
    "Checkpoint",
    "Interval",
    "Original",
    "StateChange",
    "StateFailure",
    "UpcastReport",
]

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
    committed again with other content, ``late`` what came when its time was covered already, and
    ``stale`` what was older than the revision that is committed, and ``too_late`` what came from
    below the stream's replay horizon and was not processed. ``processor`` is the version of
    your code that processed them; the counts begin anew with each.
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
    stale: int = 0
    too_late: int = 0
    processor: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the work at this key was declared finished."""
        return self.completed_at is not None

    @property
    def processing_duration(self) -> timedelta:
        """From creation to completion or, while not complete, to the last write."""
        return (self.completed_at or self.updated_at) - self.created_at


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An act that changed history or gave something up: who, what, at which Key, and how.

    ``actor`` names the machine and the process; ``detail`` is what the act says of itself. The
    ``number`` grows with each entry.
    """

    number: int
    at: datetime
    actor: str
    action: str
    key: Key | None
    detail: dict[str, Any]

    def __str__(self) -> str:
        """Return the entry as one line."""
        where = "" if self.key is None else f" {self.key}"
        return f"{self.number}. {self.at:%Y-%m-%d %H:%M:%S}Z {self.action}{where} {self.detail}"


class Original(msgspec.Struct, frozen=True):
    """A state as it was before a newer schema replaced it, as JSON data."""

    key: Key
    state: Any
    version: int
    schema_version: int
    replaced_at: datetime


class StateChange(msgspec.Struct, frozen=True):
    """A state that was upcast, or would have been, with a line for each place that differs."""

    key: Key
    from_version: int
    to_version: int
    diff: str

    def __str__(self) -> str:
        """Return the key, the versions, and the lines under them."""
        lines = [f"{self.key}: {self.from_version} -> {self.to_version}", *self.diff.splitlines()]
        return "\n    ".join(lines)


class StateFailure(msgspec.Struct, frozen=True):
    """A state that stayed as it was, and why."""

    key: Key
    schema_version: int
    error: str

    def __str__(self) -> str:
        """Return the key and the error."""
        return f"{self.key}: {self.error}"


class UpcastReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `store.upcast_states` did, or (``dry_run``) would do; print it to read it.

    ``upcast`` states were older and now have ``schema_version``, ``current`` ones had it, ``newer``
    ones were written by newer code and ``failed`` ones could not be upcast: both stayed as they
    are. ``changes`` and ``failures`` list the first of them. ``go_on_after`` is None once every
    state was looked at; else pass it as ``after``.
    """

    dry_run: bool
    schema_version: int
    upcast: int
    current: int
    newer: int
    failed: int
    changes: list[StateChange]
    failures: list[StateFailure]
    go_on_after: Key | None

    @property
    def is_complete(self) -> bool:
        """Whether no state older than the schema is left: all were looked at, and none failed."""
        would_be_left = self.upcast if self.dry_run else 0
        return self.go_on_after is None and not self.failed and not would_be_left

    def __str__(self) -> str:
        """Return the counts, then each change and each failure that is listed."""
        verb = "would be upcast" if self.dry_run else "upcast"
        counts = (
            f"{self.upcast} {verb} to schema version {self.schema_version}, {self.current} were "
            f"there already, {self.newer} are newer, {self.failed} failed"
        )
        more = [] if self.go_on_after is None else [f"go on after {self.go_on_after}"]
        return "\n".join([counts, *map(str, self.changes), *map(str, self.failures), *more])
