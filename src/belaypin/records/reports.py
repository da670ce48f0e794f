"""Reports: what ``store.verify()`` found, for people (``str``) and for machines (``as_dict``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from belaypin.keys import Key

__all__ = ["Finding", "MigrationStep", "Report", "Severity"]

Severity = Literal["error", "warning"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: where, what, and what to do about it.

    ``severity`` is "error" for a record that contradicts itself or another, and "warning" for one
    that is sound but left behind. ``kind`` is a stable word for programs, such as
    "segment-corrupt". ``key`` is None where the record belongs to no key that can be read.
    """

    severity: Severity
    kind: str
    key: Key | None
    where: str
    problem: str
    advice: str

    def __str__(self) -> str:
        """Return the finding in one line."""
        at = f"{self.key}, {self.where}" if self.key is not None else self.where
        return f"{self.severity} {self.kind}: {at}: {self.problem} {self.advice}"


class Report(msgspec.Struct, frozen=True):
    """What ``store.verify()`` has read, and what it found.

    The counts say how many records of each sort were read. ``unsettled`` are streams that live
    workers moved on each time they were counted: each of their records was checked by itself, but
    not against the others. ``unlisted`` counts the findings beyond the first 10,000.

    >>> from datetime import UTC
    >>> print(Report(started_at=datetime(2024, 1, 1, tzinfo=UTC), keys=3, segments=7, items=900))
    sound: 3 keys, 7 segments with 900 items, 0 intervals, 0 leases, 0 operations
    """

    started_at: datetime
    pipeline: str | None = None
    entity: str | None = None
    keys: int = 0
    segments: int = 0
    items: int = 0
    intervals: int = 0
    leases: int = 0
    operations: int = 0
    findings: tuple[Finding, ...] = ()
    unlisted: int = 0
    unsettled: tuple[Key, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings may have been."""
        return not self.unlisted and all(f.severity != "error" for f in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able values, ``ok`` included; times are ISO 8601 texts."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.ok, **fields}

    def __str__(self) -> str:
        """Return a headline, then one line for each finding."""
        counted = (
            f"{self.keys} keys, {self.segments} segments with {self.items} items, "
            f"{self.intervals} intervals, {self.leases} leases, {self.operations} operations"
        )
        lines = [f"{self._headline()}: {counted}", *map(str, self.findings)]
        if self.unlisted:
            lines.append(f"and {self.unlisted} more, which are not listed")
        lines += [f"not settled, as workers moved it on: {key}" for key in self.unsettled]
        return "\n".join(lines)

    def _headline(self) -> str:
        total = len(self.findings) + self.unlisted
        errors = sum(f.severity == "error" for f in self.findings) + self.unlisted
        if not total:
            return "sound"
        return f"{errors} errors, {total - errors} warnings"


class MigrationStep(msgspec.Struct, frozen=True):
    """A step that a store's tables still need; ``sql`` is all of it, a transaction of its own."""

    version: int
    name: str
    sql: str

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields
