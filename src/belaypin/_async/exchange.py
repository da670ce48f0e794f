"""Exchange: a pipeline's checkpoints as JSON Lines, and out of them into another store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from belaypin.clock import unique_id
from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.program import Program, Statement

if TYPE_CHECKING:
    from belaypin.exchange import Entity
    from belaypin.records.history import Imported

__all__ = ["AsyncExchange"]

T = TypeVar("T")

_ROWS_TOGETHER = 5_000


class AsyncExchange(ABC):
    """A pipeline out of one store and into another, of whichever database."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def export(self, pipeline: str) -> AsyncIterator[bytes]:
        """A pipeline as lines of JSON, for ``import_``: states, ledgers, coverage, failures, leases' tokens.

        Each entity is read at one moment, beside live workers if need be. What stays behind:
        generations that were rewound, savepoints, the audit, and operations and messages, which
        belong to no pipeline. Raises UsageError if there is no such pipeline, CorruptRecord if a
        state of it is damaged.
        """
        from importlib.metadata import version

        from belaypin.exchange import FORMAT, Chain, End, Header
        from belaypin.programs import exchange

        Key(pipeline)
        if not await self._run(exchange.stored(pipeline), write=False):
            raise UsageError(f"There is no pipeline {Key(pipeline)} here: nothing to export.")
        at_us = await self._run(_now(), write=False)
        chain = Chain()
        yield chain.encode(Header(FORMAT, pipeline, unique_id(), version("belaypin"), at_us))
        after = None
        while entities := await self._run(exchange.batch(pipeline, after), write=False):
            for entity in entities:
                for line in entity.lines():
                    yield chain.encode(line)
            after = entities[-1].name
        yield chain.encode(End(chain.lines + 1))

    async def import_(
        self,
        lines: Iterable[bytes | str],
        *,
        pipeline: str | None = None,
        merge: bool = False,
        on_progress: Callable[[Imported], None] | None = None,
    ) -> Imported:
        """Write what ``export`` returned into this store, entity by entity, each in one transaction.

        ``pipeline``: under this name (default: its own). If it is interrupted, import the same
        lines again: it goes on; once it is done, nothing is done. A pipeline that is there already
        is refused; with ``merge`` the entities that are not there are added, and the others left
        as they are, since two ledgers can't be made one. Leases come as released ones, with their
        tokens, so that the next token is larger than any before.

        Raises CorruptRecord for a line that is damaged, missing or out of order (what was imported
        before it is whole, and stays), and SchemaTooNew for an export of a newer format.
        """
        from belaypin.exchange import Chain, read_entities, read_header
        from belaypin.programs import exchange
        from belaypin.records.history import Imported

        chain, reader = Chain(), iter(lines)
        header = read_header(chain, reader)
        name = header.pipeline if pipeline is None else pipeline
        key = Key(name)
        mark = await self._run(exchange.begin(name, header.export_id, merge=merge))
        report = Imported(key=key)
        if mark.is_finished:
            return report
        for batch in _batches(read_entities(chain, reader)):
            written = await self._run(exchange.write(name, header.export_id, batch))
            behind = [e for e in batch if mark.done_to is None or e.name > mark.done_to]
            report = report.plus(
                len(written),
                sum(len(entity.keys) for entity in written),
                sum(entity.items for entity in written),
                len(behind) - len(written),
            )
            if on_progress is not None:
                on_progress(report)
        await self._run(exchange.finish(name, header.export_id))
        return report


def _batches(entities: Iterable[Entity]) -> Iterator[list[Entity]]:
    """Entities in groups that fit into one transaction."""
    batch: list[Entity] = []
    rows = 0
    for entity in entities:
        batch.append(entity)
        rows += entity.rows
        if rows >= _ROWS_TOGETHER:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _now() -> Program[int]:
    rows = yield Statement("clock.now")
    now_us: int = rows[0][0]
    return now_us
