"""Retention: what ``store.gc()`` keeps, and what it has dropped."""

from __future__ import annotations

from typing import Any

import msgspec

from belaypin.fields import check_count
from belaypin.times import Duration, duration_us

__all__ = ["Dropped", "GcReport", "Retention"]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """What a store keeps; ``store.gc(Retention(...))`` drops the rest.

    Lengths of time are as everywhere ("30d", a timedelta, seconds); None keeps for ever. What
    prevents duplicates is kept whatever you say here: the ledger at and above a stream's replay
    horizon, and every operation that is done. (Results whose own time is over go.)

    ``ledger``: drop ids below the horizon that ``windows(horizon=...)`` declared.
    ``generations``: how long what a stream was before a rewind is kept after it.
    ``samples``: how long every sample of ``record_health`` is kept; then one an hour for
    ``samples_hourly``, then one a day for ``samples_daily``; each counts from now.
    ``audit``: how old an entry of the audit may become, and how many there may be.
    ``attempts``: how long the attempts at an operation that is done are kept.
    ``messages``: how long delivered messages are kept. Their keys go with them, and a message that
    is sent again under such a key is delivered again: so they stay unless you say otherwise.
    ``orphans``: drop records whose key is gone, which ``verify`` reports. Restore what belongs to
    them first: afterwards nothing is left of it.

    >>> Retention(audit="90d", samples_daily="730d").audit
    '90d'
    """

    ledger: bool = True
    generations: Duration | None = "30d"
    samples: Duration = "1d"
    samples_hourly: Duration = "30d"
    samples_daily: Duration | None = None
    audit: Duration | None = "400d"
    audit_entries: int | None = None
    attempts: Duration | None = "90d"
    messages: Duration | None = None
    orphans: bool = False

    def check(self) -> None:
        """Raise UsageError if one of the fields is not what it must be."""
        for field in ("generations", "samples", "samples_hourly", "samples_daily", "audit"):
            self.before_us(field, 0)
        for field in ("attempts", "messages"):
            self.before_us(field, 0)
        check_count("audit_entries", self.audit_entries, at_least=0)

    def before_us(self, field: str, now_us: int) -> int:
        """The time before which what ``field`` names may go; raises UsageError if it is none.

        >>> Retention(audit="1s").before_us("audit", 5_000_000)
        4000000
        """
        age = getattr(self, field)
        return _NEVER_US if age is None else now_us - duration_us(age, field)


class Dropped(msgspec.Struct, frozen=True):
    """How many rows of one kind were (or would be) dropped, and their payload in bytes."""

    kind: str
    rows: int = 0
    bytes: int = 0

    def __str__(self) -> str:
        """Return the counts in a line."""
        return f"{self.kind}: {self.rows} rows, {self.bytes} bytes"


class GcReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store.gc()`` has dropped or, with ``dry_run``, would drop; print it to read it.

    ``left`` names the kinds that were not finished, because of ``limit`` or ``deadline_s``: call
    ``gc`` again to go on.

    >>> print(GcReport(dry_run=True, dropped=(Dropped("segments", 7, 900),)))
    would drop 7 rows, 900 bytes
    segments: 7 rows, 900 bytes
    """

    dry_run: bool
    dropped: tuple[Dropped, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of all kinds together."""
        return sum(each.rows for each in self.dropped)

    @property
    def bytes(self) -> int:
        """The payload bytes of all kinds together."""
        return sum(each.bytes for each in self.dropped)

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left to do."""
        return not self.left

    def plus(self, kind: str, rows: int, payload_bytes: int) -> GcReport:
        """The report with another step of one kind."""
        others = tuple(each for each in self.dropped if each.kind != kind)
        before = self.of(kind)
        here = Dropped(kind, before.rows + rows, before.bytes + payload_bytes)
        return msgspec.structs.replace(self, dropped=(*others, here))

    def unfinished(self, kind: str) -> GcReport:
        """The report with one kind more that is left."""
        return msgspec.structs.replace(self, left=(*self.left, kind))

    def of(self, kind: str) -> Dropped:
        """What was dropped of one kind."""
        return next((each for each in self.dropped if each.kind == kind), Dropped(kind))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able values, with its totals."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "rows": self.rows, "bytes": self.bytes, "is_complete": self.is_complete}

    def __str__(self) -> str:
        """Return the totals, then each kind of which something was dropped."""
        verb = "would drop" if self.dry_run else "dropped"
        lines = [f"{verb} {self.rows} rows, {self.bytes} bytes"]
        lines += [str(each) for each in self.dropped if each.rows]
        return "\n".join([*lines, *(f"not finished: {kind}" for kind in self.left)])


_NEVER_US = -(2**63)
