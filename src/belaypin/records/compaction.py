"""Compaction: what ``store.compact()`` has packed."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["CompactReport"]


class CompactReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store.compact()`` has packed or, with ``dry_run``, would pack; print it to read it.

    In ``streams`` streams ``taken`` small segments became ``made`` ones; ``bytes_before`` and
    ``bytes_after`` are those of their payloads (on a dry run, nobody knows how well they will
    compress: both are those before). With ``shrink``, ``file_before`` and ``file_after`` are the
    bytes of the database's file.

    >>> print(CompactReport(dry_run=False, streams=1, taken=60, made=1, bytes_before=9, bytes_after=4))
    packed 60 segments of 1 streams into 1: 9 bytes became 4
    """

    dry_run: bool
    streams: int = 0
    taken: int = 0
    made: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    file_before: int | None = None
    file_after: int | None = None

    def plus(self, packed: tuple[int, int, int, int]) -> CompactReport:
        """The report with what was packed of another stream."""
        taken, made, before, after = packed
        return msgspec.structs.replace(
            self,
            streams=self.streams + bool(taken),
            taken=self.taken + taken,
            made=self.made + made,
            bytes_before=self.bytes_before + before,
            bytes_after=self.bytes_after + after,
        )

    def shrunk(self, sizes: tuple[int, int] | None) -> CompactReport:
        """The report with the size of the file before and after; None: there is no file."""
        before, after = sizes or (None, None)
        return msgspec.structs.replace(self, file_before=before, file_after=after)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields

    def __str__(self) -> str:
        """Return the counts in a line, and one for the file."""
        verb = "would pack" if self.dry_run else "packed"
        text = f"{verb} {self.taken} segments of {self.streams} streams into {self.made}"
        if not self.dry_run:
            text += f": {self.bytes_before} bytes became {self.bytes_after}"
        if self.file_before is None:
            return text
        return f"{text}\nthe file had {self.file_before} bytes and has {self.file_after}"
