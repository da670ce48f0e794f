"""A sink: a directory of files of one format, each the rows of one commit."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeVar

from belaypin.clock import unique_id
from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.programs.files import Part
from belaypin.programs.participants import Participants
from belaypin.sinks.disk import Output, make_directory, on_disk
from belaypin.sinks.part import Encoder, OpenPart, Settlement

__all__ = ["Sink", "SinkCommit", "SinkStore"]

R = TypeVar("R", covariant=True)
F = TypeVar("F", covariant=True)
V = TypeVar("V", covariant=True)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NO_STORE = "unknown"


class SinkCommit(Protocol):
    """What ``page.commit()`` and ``batch.commit()`` return, in either colour."""

    @property
    def _participants(self) -> Participants: ...


class SinkStore(Protocol[R, F, V]):
    """A store of either colour: R, F and V are what it returns, or (async) what is awaited for."""

    def _recover_sink(self, sink: Sink) -> R: ...
    def _sink_files(self, sink: Sink) -> F: ...
    def _verify_sink(self, sink: Sink) -> V: ...


class Sink(ABC):
    """What `JsonLines` and `Parquet` have in common.

    All workers may share one directory. The sink's ``name`` is what its files begin with and, with
    its format, what the store knows it by: give two directories two names. One object serves many
    commits, stores and threads.
    """

    suffix: str
    """What the names of its files end with: a dot and a word."""

    def __init__(self, directory: str | PathLike[str], *, name: str | None = None) -> None:
        self.directory = Path(directory).absolute()
        self.name = self.directory.name if name is None else str(name)
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"A sink's name is 1 to 64 of A-Z, a-z, 0-9, - and _, not {describe(self.name)}: "
                f"pass name=..., the same in every run."
            )
        self._part_name = re.compile(
            rf"\.{self.name}\.([0-9a-z]+)\.([0-9]+)\.([0-9]+)\.[0-9a-f]{{16}}\{self.suffix}\.part"
        )
        self._file_name = re.compile(
            rf"{self.name}-[0-9]+-[0-9]{{8,}}-[0-9a-f]{{16}}\{self.suffix}"
        )
        self._settlements: dict[str, Settlement] = {}
        with on_disk(self.directory, "Making the directory", "Nothing was written."):
            make_directory(self.directory)

    @property
    def identity(self) -> str:
        """What the store knows the sink by: its name and format."""
        return f"{self.name}{self.suffix}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} in {self.directory}>"

    def write(self, tx: SinkCommit, row: Any) -> None:
        """Add a row to the file that becomes visible when this commit is durable.

        ``tx`` is what ``page.commit()`` or ``batch.commit()`` returned. If the commit is undone so
        is the file; if the ``tx.attempt`` that it is written in fails, so is the row.

        Raises UsageError if the format can't hold the row, or in a joined transaction, and
        StoreFull if the disk is full: then let the exception through, and the page comes again.
        """
        participants: Participants | None = getattr(tx, "_participants", None)
        if participants is None:
            raise UsageError(
                "A sink writes with the commit of a page or a batch: "
                "`with page.commit() as tx: sink.write(tx, row)`."
            )
        participants.enlisted(self, self._begin).write(row)

    def recover(self, store: SinkStore[R, Any, Any]) -> R:
        """Finish what was committed and delete what never can be, after workers have died.

        The first commit with a sink does the same. Never touches what a live worker may still
        commit. Returns a `Recovered`; with an async store, await it.
        """
        return store._recover_sink(self)

    def files(self, store: SinkStore[Any, F, Any]) -> F:
        """Every file that was committed, in the order of their names: the manifest.

        Returns a list of `SinkFile`; with an async store, await it.
        """
        return store._sink_files(self)

    def verify(self, store: SinkStore[Any, Any, V]) -> V:
        """Read every file and compare it with the manifest; change nothing.

        Returns a `FilesReport`; with an async store, await it.
        """
        return store._verify_sink(self)

    @abstractmethod
    def _encoder(self, output: Output) -> Encoder:
        """What writes rows of this format to a new file."""

    def _begin(self, participants: Participants) -> OpenPart:
        epoch, fence = participants.epoch or _NO_STORE, participants.fence
        settlement = self._settlements.setdefault(epoch, Settlement())
        # Listed before ours is made, and before the commit asks which leases have ended.
        is_seen_to = settlement.is_surveyed or epoch == _NO_STORE
        leftovers = [] if is_seen_to else self._parts(epoch)
        unique = unique_id()[:16]
        lease = f"{fence.key_id}.{fence.token}"
        part = f".{self.name}.{epoch}.{lease}.{unique}{self.suffix}.part"
        begun = OpenPart(self.directory, self.identity, part, settlement, leftovers)
        try:
            begun.encoder = self._encoder(begun.output)
        except BaseException:
            begun.undo()
            raise
        return begun

    def _parts(self, epoch: str) -> list[Part]:
        """The unfinished files of this sink and store, whosoever they are."""
        with on_disk(self.directory, "Listing the files", "Nothing was changed."):
            names = sorted(path.name for path in self.directory.iterdir())
        found = (self._part_name.fullmatch(name) for name in names)
        return [Part(m[0], int(m[2]), int(m[3])) for m in found if m is not None and m[1] == epoch]

    def _file_names(self) -> list[str]:
        """The files in the directory that have such names as this sink gives."""
        with on_disk(self.directory, "Listing the files", "Nothing was changed."):
            names = sorted(path.name for path in self.directory.iterdir())
        return [name for name in names if self._file_name.fullmatch(name)]
