"""What a sink tells of its files."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from belaypin.keys import Key
from belaypin.records.reports import Finding

__all__ = ["FilesReport", "Recovered", "SinkFile"]


class SinkFile(msgspec.Struct, frozen=True, kw_only=True):
    """A committed file: its name in the sink's directory, and what was written to it.

    ``key`` is the stream that its rows belong to (None if the Key is gone), ``generation`` that of
    the stream: it grows when history is rewound, and then the same items are written once more, to
    files of the next. ``is_final`` is False as long as it may still have its hidden name: of the
    last file of a live worker, and of those that ``recover`` finishes.
    """

    name: str
    key: Key | None
    generation: int
    rows: int
    bytes: int
    sha256: str
    created_at: datetime
    is_final: bool


class Recovered(msgspec.Struct, frozen=True):
    """What ``sink.recover`` did: files that got their names, and parts that were deleted."""

    finished: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()


class FilesReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``sink.verify`` has read, and what it found.

    >>> print(FilesReport(sink="posts.jsonl", files=2, rows=7, bytes=90))
    sound: 2 files with 7 rows, 90 bytes
    """

    sink: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings may have been."""
        return all(finding.severity != "error" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able values, ``ok`` included."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.ok, **fields}

    def __str__(self) -> str:
        """Return a headline, then one line for each finding."""
        errors = sum(finding.severity == "error" for finding in self.findings)
        found = f"{errors} errors, {len(self.findings) - errors} warnings"
        headline = found if self.findings else "sound"
        counted = f"{self.files} files with {self.rows} rows, {self.bytes} bytes"
        return "\n".join([f"{headline}: {counted}", *map(str, self.findings)])
