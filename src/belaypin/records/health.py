"""Health: the figures of ``store.health()``, each with its formula."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from belaypin.keys import Key

__all__ = ["Health"]


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a store (or one pipeline of it) stood.

    ``lag`` is how far the head of the stream that is furthest behind (``lag_key``) lies behind the
    database's clock; of all streams, half lag at most ``lag_p50``, and so on. None: nothing is
    covered. ``gaps`` are holes in the coverage; ``failures`` items that wait for another try,
    ``quarantined`` those that wait for a person, as do ``quarantined_entities``;
    ``failed_entities`` ended their last run with an exception. ``interrupted_windows`` were begun
    and nobody holds a lease on their entity; ``abandoned_operations`` run by their status, but
    their time is over. ``recovery`` estimates how long it would take, if every worker died now,
    until the work stands again where it stands; ``drilled_recovery`` was measured, 99 % of the
    restarts of the newest drill were as fast (see ``store.drills``). Bytes are those of payloads, without the
    database's own. docs/explanation/health.md has each formula.

    >>> from datetime import UTC
    >>> at = datetime(2024, 1, 1, tzinfo=UTC)
    >>> health = Health(at=at, items=90, changed=5, skipped=5, ledger_raw_bytes=80, ledger_bytes=20)
    >>> health.efficiency, health.compression_ratio
    (0.95, 4.0)
    """

    at: datetime
    pipeline: str | None = None
    keys: int = 0
    streams: int = 0
    items: int = 0
    skipped: int = 0
    changed: int = 0
    late: int = 0
    too_late: int = 0
    lag: timedelta | None = None
    lag_key: Key | None = None
    lag_p50: timedelta | None = None
    lag_p90: timedelta | None = None
    lag_p99: timedelta | None = None
    gaps: int = 0
    failures: int = 0
    quarantined: int = 0
    failed_entities: int = 0
    quarantined_entities: int = 0
    live_leases: int = 0
    open_windows: int = 0
    interrupted_windows: int = 0
    running_operations: int = 0
    abandoned_operations: int = 0
    failed_operations: int = 0
    recovery: timedelta = timedelta(0)
    drilled_at: datetime | None = None
    drilled_kills: int = 0
    drilled_lost: int = 0
    drilled_doubled: int = 0
    drilled_recovery: timedelta | None = None
    segments: int = 0
    ledger_raw_bytes: int = 0
    ledger_bytes: int = 0
    state_bytes: int = 0
    result_bytes: int = 0

    @property
    def efficiency(self) -> float | None:
        """The part of what was fetched that was processed: (items + changed) / all that was seen.

        1 if nothing was fetched twice; None if nothing was fetched at all.
        """
        processed = self.items + self.changed
        seen = processed + self.skipped
        return processed / seen if seen else None

    @property
    def orphans(self) -> int:
        """Work that was begun and that nobody is at: interrupted windows, abandoned operations."""
        return self.interrupted_windows + self.abandoned_operations

    @property
    def stored_bytes(self) -> int:
        """The ledger, the states and the results together, as they are stored."""
        return self.ledger_bytes + self.state_bytes + self.result_bytes

    @property
    def compression_ratio(self) -> float | None:
        """How many bytes of ledger one stored byte holds; None without a ledger."""
        return self.ledger_raw_bytes / self.ledger_bytes if self.ledger_bytes else None

    @property
    def _drill(self) -> str:
        if self.drilled_at is None:
            return "never drilled"
        return (
            f"drilled {self.drilled_at}: {self.drilled_recovery} (p99 of {self.drilled_kills} kills), "
            f"{self.drilled_lost} lost, {self.drilled_doubled} doubled"
        )

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON-able values; lengths of time are in seconds."""
        figures = {name: getattr(self, name) for name in (*self.__struct_fields__, *_DERIVED)}
        for name, value in figures.items():
            if isinstance(value, timedelta):
                figures[name] = value.total_seconds()
        fields: dict[str, Any] = msgspec.to_builtins(figures)
        return fields

    def __str__(self) -> str:
        """Return the figures for people, one subject a line."""
        ratio = self.compression_ratio
        efficiency = self.efficiency
        return "\n".join(
            (
                f"{self.keys} keys, {self.streams} streams, {self.items} items at {self.at}",
                f"lag: {self.lag} ({self.lag_key}); half of the streams: {self.lag_p50} or less",
                f"{self.gaps} gaps; {self.failures} items wait for another try, {self.quarantined} for "
                f"a person; {self.failed_entities} entities failed, {self.quarantined_entities} are "
                f"in quarantine",
                f"efficiency: {'-' if efficiency is None else f'{efficiency:.1%}'}; {self.late} late",
                f"orphans: {self.orphans} of {self.open_windows} windows and "
                f"{self.running_operations + self.abandoned_operations} operations under way",
                f"recovery: {self.recovery} (estimate), with {self.live_leases} leases held; {self._drill}",
                f"stored: {self.stored_bytes} bytes; ledger compressed "
                f"{'-' if ratio is None else f'{ratio:.1f}'} to 1",
            )
        )


_DERIVED = ("efficiency", "orphans", "stored_bytes", "compression_ratio")
