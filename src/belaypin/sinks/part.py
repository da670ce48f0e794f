"""A part: the rows of one commit in a file of their own, hidden until the commit is durable."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from belaypin.errors import StoreUnavailable, UsageError
from belaypin.program import Program
from belaypin.programs import files
from belaypin.programs.files import Part, Ready
from belaypin.programs.pages import StreamRow
from belaypin.sinks.disk import Output, on_disk, remove, rename, sync_directory

__all__ = ["Encoder", "OpenPart", "Settlement"]

_UNDONE = "Nothing was committed, and nothing is lost: the page comes again."
_COMMITTED = (
    "The rows are committed and durable, and their file waits under its hidden name: the next use "
    "of the sink, or sink.recover(store), gives it its own."
)


class Encoder(Protocol):
    """Rows of one format, on their way into a file."""

    def take(self, row: Any) -> Any:
        """The row as `write` wants it, the way it is now; raises UsageError if it can't be held."""

    def check(self, taken: Any) -> None:
        """Raise UsageError for a row that was taken, and that `write` or `finish` would refuse."""

    def write(self, taken: Any) -> None:
        """Add a row that was taken."""

    def finish(self) -> None:
        """Write what is left, and what the format has at its end."""


class Settlement:
    """What a sink has still to note, and to see to, in one store."""

    def __init__(self) -> None:
        self.is_surveyed = False
        """Whether what earlier processes left was seen to."""
        self.named: list[str] = []
        """Files that have their names, which no commit has noted yet."""

    def take(self) -> list[str]:
        """The names to note in a commit."""
        taken, self.named = self.named, []
        return taken


class OpenPart:
    """The part of one commit: a `Participant`."""

    def __init__(
        self,
        directory: Path,
        sink: str,
        part: str,
        settlement: Settlement,
        leftovers: list[Part],
    ) -> None:
        self.order = sink
        self._directory = directory
        self._sink = sink
        self._part = part
        self._settlement = settlement
        self._leftovers = leftovers
        self._finish: list[Ready] = []
        self._remove: list[Part] = []
        self._noting: list[str] = []
        self._rows = 0
        self._held: list[Any] | None = None
        self._name = ""
        self._is_broken = self._is_over = False
        with on_disk(directory, "Making a file", _UNDONE):
            self.output = Output(directory / part)
        self.encoder: Encoder | None = None

    def write(self, row: Any) -> None:
        """Add a row to the file."""
        if self.encoder is None or self._is_over:
            raise UsageError("This commit has ended; write to the sink inside its `with` block.")
        taken = self.encoder.take(row)
        if self._held is None:
            self._write(taken)
        else:
            self.encoder.check(taken)  # now, so that only this item fails
            self._held.append(taken)

    def hold(self) -> None:
        """Keep the rows that come apart, until it is known whether they count."""
        self._held = []

    def settle(self, *, keep: bool) -> None:
        """Write the rows that were held, or forget them."""
        held, self._held = self._held or [], None
        for taken in held if keep else []:
            self._write(taken)

    def seal(self) -> None:
        """Make the file durable under its hidden name, and every name in the directory too."""
        assert self.encoder is not None
        if self._is_broken:
            raise StoreUnavailable(
                f"A file in {self._directory} could not be written, and the commit went on. It was "
                f"undone: {_UNDONE} Let what sink.write() raises through."
            )
        self._is_over = True
        if not self._rows:
            self.undo()  # every attempt failed
            return
        with on_disk(self._directory, "Writing a file", _UNDONE):
            self.encoder.finish()
            self.output.sync()
            sync_directory(self._directory)

    def note(self, row: StreamRow) -> Program[None]:
        """Commit the file's name, size and checksum with its rows."""
        if not self._rows:
            return
        sink, _, suffix = self._sink.partition(".")
        unique = self._part.split(".")[-3]
        self._name = f"{sink}-{row.key_id}-{row.commits + 1:08}-{unique}.{suffix}"
        file = Ready(self._name, self._part)
        size, sha256 = self.output.bytes, self.output.sha256
        self._noting = self._settlement.take()
        yield from files.finalised(self._sink, self._noting)
        if not self._settlement.is_surveyed:
            self._finish, self._remove = yield from files.survey(self._sink, self._leftovers)
        yield from files.add(self._sink, file, row.key_id, row.generation, self._rows, size, sha256)

    def publish(self) -> None:
        """Give the file its name; then see to what earlier processes left.

        The new name is not made durable here: ``seal`` of the next commit does it, and only then
        the file is noted as final. After a power failure in between it is hidden again, and named
        again by recovery.
        """
        if not self._rows:
            return
        with on_disk(self._directory, "Naming a file", _COMMITTED):
            self._named(Ready(self._name, self._part))
            for file in self._finish:
                self._named(file)
            for part in self._remove:
                remove(self._directory, part.name)
        self._settlement.is_surveyed = True

    def undo(self) -> None:
        """Delete the file."""
        self.abandon()
        with on_disk(self._directory, "Deleting an unfinished file", _UNDONE):
            remove(self._directory, self._part)

    def abandon(self) -> None:
        """Leave the file to whoever knows whether its commit took place."""
        self._is_over = True
        self.output.give_up()
        self._settlement.named += self._noting

    def _write(self, taken: Any) -> None:
        assert self.encoder is not None
        try:
            with on_disk(self._directory, "Writing a file", _UNDONE):
                self.encoder.write(taken)
        except BaseException:
            self._is_broken = True
            raise
        self._rows += 1

    def _named(self, file: Ready) -> None:
        if rename(self._directory, file.part, file.name):
            self._settlement.named.append(file.name)
