"""After workers have died: what becomes of their files; and whether the files are as committed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from belaypin.keys import Key
from belaypin.programs.files import FileRow, Part, Ready
from belaypin.records.reports import Finding
from belaypin.sinks.disk import digest, on_disk, remove, rename, sync_directory
from belaypin.sinks.reports import FilesReport, Recovered, SinkFile
from belaypin.times import from_us

if TYPE_CHECKING:
    from belaypin.sinks.sink import Sink

__all__ = ["Finished", "Inspection", "as_file", "delete", "finish"]

_UNCHANGED = "Nothing is lost: what is committed stays so. Recover again."


class Finished(NamedTuple):
    """Committed files that have their names: all of them, and those that got them just now."""

    all: list[str]
    now: list[str]

    def recovered(self, deleted: Sequence[str]) -> Recovered:
        """What to tell of it."""
        return Recovered(tuple(self.now), tuple(deleted))


def finish(sink: Sink, ready: Sequence[Ready]) -> Finished:
    """Give committed files their names, durably."""
    finished = Finished([], [])
    with on_disk(sink.directory, "Naming a file", _UNCHANGED):
        for file in ready:
            had_name = (sink.directory / file.name).exists()
            if rename(sink.directory, file.part, file.name):
                finished.all.append(file.name)
                if not had_name:
                    finished.now.append(file.name)
        sync_directory(sink.directory)
    return finished


def delete(sink: Sink, parts: Sequence[Part]) -> list[str]:
    """Delete what nobody can ever commit."""
    with on_disk(sink.directory, "Deleting an unfinished file", _UNCHANGED):
        return [part.name for part in parts if remove(sink.directory, part.name)]


def as_file(row: FileRow) -> SinkFile:
    """A row of the manifest, for people."""
    return SinkFile(
        name=row.name,
        key=_key(row),
        generation=row.generation,
        rows=row.row_count,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=from_us(row.created_us),
        is_final=row.state == "final",
    )


class Inspection:
    """One run of ``sink.verify``."""

    def __init__(self, sink: Sink, names: Collection[str]) -> None:
        self._sink = sink
        self._strays = set(names)
        self._files = self._rows = self._bytes = 0
        self._findings: list[Finding] = []

    def take(self, row: FileRow) -> None:
        """Read a file, and compare it with its row."""
        self._strays.discard(row.name)
        self._files += 1
        self._rows += row.row_count
        self._bytes += row.bytes
        try:
            with on_disk(self._sink.directory, f"Reading {row.name}", ""):
                self._compare(row)
        except Exception as error:  # noqa: BLE001 -- one that can't be read stops no others
            self._error("file-unreadable", row, f"{error}", "See to the disk, then verify again.")

    def report(self, over: Sequence[Part]) -> FilesReport:
        """What was found; ``over`` are parts that nobody can commit any more."""
        for name in sorted(self._strays):
            self._findings.append(
                Finding(
                    "error",
                    "file-unknown",
                    None,
                    name,
                    "It is in the directory, but no commit of this store has written it.",
                    "If the store was restored from an older backup its rows come again in another "
                    "file: then move this one away. If it belongs to another store, give that "
                    "store's sink another name.",
                )
            )
        for part in over:
            self._findings.append(
                Finding(
                    "warning",
                    "part-left",
                    None,
                    part.name,
                    "Its commit never took place, and its writer is gone.",
                    "Nothing need be done: sink.recover(store) or the next commit deletes it.",
                )
            )
        return FilesReport(
            sink=self._sink.identity,
            files=self._files,
            rows=self._rows,
            bytes=self._bytes,
            findings=tuple(self._findings),
        )

    def _compare(self, row: FileRow) -> None:
        path = self._sink.directory / row.name
        if not path.exists():
            is_waiting = row.state == "ready" and (self._sink.directory / row.part).exists()
            if is_waiting or not path.exists():  # its worker may have named it just now
                self._missing(row, is_waiting=is_waiting)
                return
        size, sha256 = digest(path)
        if (size, sha256) != (row.bytes, row.sha256):
            problem = (
                f"It has {size} bytes and SHA-256 {sha256}; {row.bytes} bytes and {row.sha256} "
                f"were committed."
            )
            self._error("file-changed", row, problem, "Restore it from a backup.")

    def _missing(self, row: FileRow, *, is_waiting: bool) -> None:
        if is_waiting:
            self._findings.append(
                Finding(
                    "warning",
                    "file-unnamed",
                    _key(row),
                    row.name,
                    "It is committed, and whole under its hidden name.",
                    "Nothing need be done: its worker, sink.recover(store) or the next commit "
                    "gives it its name.",
                )
            )
            return
        problem = f"It is not in {self._sink.directory}, and {row.row_count} rows with it."
        advice = "Restore it from a backup; or is this another directory than it was written to?"
        self._error("file-missing", row, problem, advice)

    def _error(self, kind: str, row: FileRow, problem: str, advice: str) -> None:
        self._findings.append(Finding("error", kind, _key(row), row.name, problem, advice))


def _key(row: FileRow) -> Key | None:
    if row.pipeline is None:
        return None
    return Key(row.pipeline, row.entity or "", row.stream or "")
