"""Listings: the rows of what a store holds, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

import msgspec

from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.records.status import StatusWord

__all__ = [
    "Count",
    "EntityRow",
    "GapRow",
    "ItemRow",
    "LeaseRow",
    "LeaseState",
    "Listing",
    "OperationRow",
    "OperationStatus",
    "Storage",
    "Stored",
    "StreamRow",
    "WindowRow",
]

R = TypeVar("R", bound="Row")

LeaseState = Literal["live", "expired", "released"]
OperationStatus = Literal["running", "done", "failed"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a listing."""

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values; lengths of time are in seconds, times ISO 8601 texts."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, timedelta):
                fields[name] = value.total_seconds()
        return fields


class EntityRow(Row, frozen=True, kw_only=True):
    """How an entity stands: what ``store.status`` says of it, as a row.

    Counts are those of its streams, summed up. ``failures`` are its items that wait for another
    try, ``quarantined`` those that wait for a person. ``lag`` is that of ``lag_key``, its stream
    that is furthest behind; ``gaps`` counts the holes in the coverage of all of them. ``error`` is
    what its last run failed with, if that is not over.
    """

    key: Key
    status: StatusWord
    streams: int
    items: int
    skipped: int
    changed: int
    late: int
    failures: int
    quarantined: int
    gaps: int
    lag: timedelta | None
    lag_key: Key | None
    attempts: int
    error: str | None
    updated_at: datetime
    priority: int
    live_leases: int


class StreamRow(Row, frozen=True, kw_only=True):
    """How a stream stands. ``failures`` and ``quarantined`` are items that were put aside.

    ``covered_from`` and ``head`` are the two ends of the contiguous part of its coverage, ``gaps``
    the holes behind it; ``lag`` is how far the head lies behind now (None: nothing is covered, or
    it is complete). ``is_open``: a window of it was begun and is not finished. ``live_from`` and
    ``live_to``: the newest stretch of time in which somebody listened to it without a break (None:
    nobody has, or it was rewound since); what else is covered came by windows, or was listened to
    before.
    """

    key: Key
    status: StatusWord
    items: int
    skipped: int
    changed: int
    late: int
    too_late: int
    stale: int
    failures: int
    quarantined: int
    gaps: int
    head: datetime | None
    lag: timedelta | None
    covered_from: datetime | None
    live_from: datetime | None
    live_to: datetime | None
    is_open: bool
    processor: int
    updated_at: datetime
    version: int


class LeaseRow(Row, frozen=True, kw_only=True):
    """A lease of an entity. ``expired``: its holder neither renewed nor released it in time.

    ``host`` and ``pid`` are read from the ``owner``'s name, where that names a process. ``deaths``
    counts the holders in a row that never released it. ``expires_at`` is None once it is released.
    """

    key: Key
    role: str
    state: LeaseState
    owner: str
    host: str | None
    pid: int | None
    token: int
    acquired_at: datetime
    renewed_at: datetime
    expires_at: datetime | None
    ttl: timedelta
    deaths: int


class WindowRow(Row, frozen=True, kw_only=True):
    """A window that was begun and is not finished: its next page is fetched from ``cursor``.

    ``covered_to``: what lies before it in the window was covered when it was opened, and is read
    again for what was late (None: nothing was). ``newest``: the latest event time that the source
    has returned in it, where items have one. ``moved_at``: the stream's last commit. ``lease`` is
    that of the window's ``role`` on the entity, whoever has it or had it last; None: nobody has
    had one here, as in a copy.
    """

    key: Key
    role: str
    start: datetime
    end: datetime
    is_head: bool
    cursor: Any
    covered_to: datetime | None
    newest: datetime | None
    moved_at: datetime
    lease: LeaseRow | None

    def as_dict(self) -> dict[str, Any]:
        """All fields, the lease as its own ``as_dict``."""
        lease = None if self.lease is None else self.lease.as_dict()
        return {**super().as_dict(), "lease": lease}


class ItemRow(Row, frozen=True, kw_only=True):
    """An id in the ledger of a stream.

    ``committed_by``: it was committed then or before; ids that were packed together since share the
    time of that. ``revision`` and ``fingerprint`` (hexadecimal) are kept where the stream compares
    them.
    """

    item_id: ItemId
    segment: int
    committed_by: datetime
    revision: int | None
    fingerprint: str | None


class OperationRow(Row, frozen=True, kw_only=True):
    """An operation, without its attempts and its result; see ``store.operation``.

    ``is_abandoned``: it runs by its status, but its worker's time is over.
    """

    id: str
    status: OperationStatus
    is_abandoned: bool
    attempts: int
    owner: str
    error: str | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class GapRow(Row, frozen=True, kw_only=True):
    """A hole in the coverage of a stream: [start, end) is not processed, what lies around it is."""

    key: Key
    start: datetime
    end: datetime
    duration: timedelta


class Listing(msgspec.Struct, Generic[R], frozen=True):
    """Some rows, in order, and where the next ones begin.

    Pass ``next`` as ``after=`` to go on; None: there is nothing more. A listing may have fewer rows
    than its limit, or none, and still a ``next``: it looked at as much as one short read may.

    >>> len(Listing(())), Listing(()).next
    (0, None)
    """

    rows: tuple[R, ...] = ()
    next: str | None = None

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The rows as JSON-able values, and ``next``."""
        return {"rows": [row.as_dict() for row in self.rows], "next": self.next}


class Count(int):
    """How many rows a filter picks; ``is_exact`` is False if there may be more than that.

    Counting stops at the cap that was asked for, or at what one short read may look at.

    >>> Count(3, is_exact=False), str(Count(3, is_exact=False))
    (3, '3+')
    """

    is_exact: bool

    def __new__(cls, value: int, *, is_exact: bool = True) -> Count:
        made = super().__new__(cls, value)
        made.is_exact = is_exact
        return made

    def __str__(self) -> str:
        """Return the number, with a plus if there may be more."""
        return f"{int(self)}" + "+" * (not self.is_exact)


class Stored(Row, frozen=True, kw_only=True):
    """How much there is of one kind of record. ``raw_bytes``: before compression, where known."""

    kind: str
    rows: int
    bytes: int
    raw_bytes: int | None

    @property
    def ratio(self) -> float | None:
        """How many bytes one stored byte holds; None where that is not known."""
        return self.raw_bytes / self.bytes if self.raw_bytes is not None and self.bytes else None

    def as_dict(self) -> dict[str, Any]:
        """All fields, and ``ratio``."""
        return {**super().as_dict(), "ratio": self.ratio}


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """What a store, or one pipeline of it, takes up.

    Bytes are those of payloads. ``database_bytes`` is what the whole database takes on disk, with
    everything else that is in it.
    """

    at: datetime
    pipeline: str | None
    kinds: tuple[Stored, ...]
    database_bytes: int

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(kind.rows for kind in self.kinds)

    @property
    def bytes(self) -> int:
        """All payloads, as they are stored."""
        return sum(kind.bytes for kind in self.kinds)

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON-able values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        kinds = [kind.as_dict() for kind in self.kinds]
        return {**fields, "kinds": kinds, "rows": self.rows, "bytes": self.bytes}
