"""Drills: what runs under SIGKILL on copies of a store have shown."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

__all__ = ["Drill"]


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one drill of a pipeline; see ``belaypin drill``.

    ``lost`` and ``doubled`` are rows, ids and spans, compared with a run that nobody disturbed.
    ``recovery_p50`` and ``recovery_p99`` are from the start of a process to its first commit with
    anything new; None if that was not measured.

    >>> from datetime import UTC
    >>> at = datetime(2024, 1, 1, tzinfo=UTC)
    >>> Drill(at=at, pipeline="shop", kills=300, lost=0, doubled=0).rate_bound
    0.01
    """

    at: datetime
    pipeline: str
    kills: int
    lost: int
    doubled: int
    recovery_p50: timedelta | None = None
    recovery_p99: timedelta | None = None

    @property
    def rate_bound(self) -> float | None:
        """If nothing was lost or doubled: at most this part of kills does so, at 95 % (3 / kills)."""
        return 3 / self.kills if self.kills and not (self.lost or self.doubled) else None

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values, and ``rate_bound``; lengths of time are in seconds."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        for name in ("recovery_p50", "recovery_p99"):
            value: timedelta | None = getattr(self, name)
            fields[name] = None if value is None else value.total_seconds()
        return {**fields, "rate_bound": self.rate_bound}
