"""Status: how a pipeline, an entity or a stream stands, derived from what is committed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from belaypin.keys import Key

__all__ = ["Status", "StatusWord", "worst"]

StatusWord = Literal[
    "absent",
    "open",
    "complete",
    "working",
    "waiting",
    "interrupted",
    "failed",
    "quarantined",
]

_WORST_FIRST: tuple[StatusWord, ...] = (
    "quarantined",
    "failed",
    "interrupted",
    "waiting",
    "working",
    "open",
    "complete",
)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a Key stood at one moment, rolled up from the rows at it and beneath it.

    ``status`` is one word: "quarantined" (put aside until a person looks), "failed" (its last run
    raised, and it is due or given up), "interrupted" (begun, nobody is at it), "waiting" (failed,
    not due yet), "working" (somebody holds a lease), "open" (none of these), "complete", or
    "absent" (nothing is stored). Of a pipeline it is the worst of its entities', in that order.
    Counts are those of ``Checkpoint``, summed up. ``gaps`` counts the holes in the coverage;
    ``lag`` is that of the stream furthest behind, ``lag_key``. ``error`` is the newest failure that
    is not over, at ``error_key``. docs/explanation/recovery.md has each formula.

    >>> from datetime import UTC
    >>> print(Status(key=Key("shop"), at=datetime(2024, 1, 1, tzinfo=UTC), status="open", items=7))
    shop: open; 7 items, 0 skipped, 0 changed, 0 late
    """

    key: Key
    at: datetime
    status: StatusWord
    items: int = 0
    skipped: int = 0
    changed: int = 0
    late: int = 0
    entities: dict[str, int] = {}
    streams: dict[str, int] = {}
    open_windows: int = 0
    gaps: int = 0
    lag: timedelta | None = None
    lag_key: Key | None = None
    live_leases: int = 0
    attempts: int = 0
    idle_attempts: int = 0
    failed_runs: int = 0
    priority: int = 0
    error: str | None = None
    error_key: Key | None = None
    failed_at: datetime | None = None
    next_try_at: datetime | None = None
    quarantined_at: datetime | None = None
    quarantine_reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values; ``lag`` is in seconds, times are ISO 8601 texts."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "lag": None if self.lag is None else self.lag.total_seconds()}

    def __str__(self) -> str:
        """Return the status for people, one subject a line."""
        lines = [
            f"{self.key}: {self.status}; {self.items} items, {self.skipped} skipped, "
            f"{self.changed} changed, {self.late} late"
        ]
        for name, counts in (("entities", self.entities), ("streams", self.streams)):
            if counts:
                lines.append(f"{name}: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
        if self.open_windows or self.gaps or self.live_leases:
            lines.append(
                f"{self.open_windows} open windows, {self.gaps} gaps, {self.live_leases} live leases"
            )
        if self.lag is not None:
            lines.append(f"lag: {self.lag} ({self.lag_key})")
        if self.error is not None:
            due = "given up" if self.next_try_at is None else f"next try {self.next_try_at}"
            lines.append(f"last error: {self.error} ({self.error_key}, {self.failed_at}; {due})")
        if self.quarantine_reason is not None:
            lines.append(f"in quarantine since {self.quarantined_at}: {self.quarantine_reason}")
        return "\n".join(lines)


def worst(words: dict[str, int]) -> StatusWord:
    """The word that a person should hear of first.

    >>> worst({"complete": 9, "failed": 1})
    'failed'
    """
    return next((word for word in _WORST_FIRST if words.get(word)), "absent")
