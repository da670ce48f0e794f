"""File sinks, seen from the store: recovery, the manifest, and whether the files agree with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from belaypin.backends.threads import in_thread  # sync: drop
from belaypin.process import is_surely_dead
from belaypin.program import Program
from belaypin.programs import files
from belaypin.programs.files import FileRow, Part

if TYPE_CHECKING:
    from belaypin.sinks import FilesReport, Recovered, Sink, SinkFile

__all__ = ["AsyncFiles"]

T = TypeVar("T")


class AsyncFiles(ABC):
    """What a sink asks of its store, see `belaypin.sinks.Sink`."""

    _epoch: str

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def _recover_sink(self, sink: Sink) -> Recovered:
        from belaypin.sinks.recovery import delete, finish

        parts = sink._parts(self._epoch)
        ready, over = await self._run(files.survey(sink.identity, parts), write=False)
        over += [part for part in parts if part not in over and await self._is_over(sink, part)]
        finishing = partial(finish, sink, ready)
        named = await in_thread(None, finishing)  # sync: named = finishing()
        if named.all:
            await self._run(files.finalised(sink.identity, named.all))
        deleting = partial(delete, sink, over)
        deleted = await in_thread(None, deleting)  # sync: deleted = deleting()
        return named.recovered(deleted)

    async def _is_over(self, sink: Sink, part: Part) -> bool:
        """Whether the part's writer has died on this machine, and has not committed it."""
        if not _are_dead(await self._run(files.writers(part), write=False)):
            return False
        # The server may still be at work on the COMMIT that the writer had sent before it died.
        return await self._run(_died_without(sink.identity, part))

    async def _sink_files(self, sink: Sink) -> list[SinkFile]:
        from belaypin.sinks.recovery import as_file

        return [as_file(row) for row in await self._manifest(sink)]

    async def _verify_sink(self, sink: Sink) -> FilesReport:
        from belaypin.sinks.recovery import Inspection

        # The directory first: what is committed later is in the manifest, but need not be here.
        parts, names = sink._parts(self._epoch), sink._file_names()
        inspection = Inspection(sink, names)
        for row in await self._manifest(sink):
            inspecting = partial(inspection.take, row)
            await in_thread(None, inspecting)  # sync: inspecting()
        _, over = await self._run(files.survey(sink.identity, parts), write=False)
        return inspection.report(over)

    async def _manifest(self, sink: Sink) -> list[FileRow]:
        rows: list[FileRow] = []
        after = ""
        while page := await self._run(files.listed(sink.identity, after), write=False):
            rows += page
            after = page[-1].name
        return rows


def _are_dead(owners: Sequence[str]) -> bool:
    return all(map(is_surely_dead, owners))


def _died_without(sink: str, part: Part) -> Program[bool]:
    if not _are_dead((yield from files.await_end(part))):
        return False
    return part.name not in {file.part for file in (yield from files.ready(sink))}
