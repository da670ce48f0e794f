"""Change detection for a whole document: is this content other than what was committed last?"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from belaypin._async.tenure import AsyncTenure
from belaypin._async.work import AsyncWork
from belaypin.backends.base import AsyncTransaction
from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.programs import checkpoints, components, leases
from belaypin.programs.checkpoints import Kind, Offer
from belaypin.tracing import NO_SPAN

__all__ = ["AsyncChange"]


class AsyncChange(AbstractAsyncContextManager["AsyncChange"]):
    """Truthy if the content is new or changed: then process it, with ``change.tx``.

    That the new content was processed is committed together with what ``tx`` wrote.
    """

    def __init__(
        self,
        tenure: AsyncTenure,
        key: Key,
        offer: Offer,
        note_unchanged: Callable[[int, str], None],
    ) -> None:
        self.content_hash = offer.content_hash
        self.kind: Kind = "unchanged"
        """ "new" if there was no content before, else "changed", "unchanged" or "stale": older."""
        self._offer = offer
        self._tenure = tenure
        self._components = tenure.components
        self._key = key
        self._key_id: int | None = None
        self._note_unchanged = note_unchanged
        self._work = _ChangeWork(self)
        self._span = NO_SPAN

    def __bool__(self) -> bool:
        return self.kind in ("new", "changed")

    @property
    def tx(self) -> AsyncWork:
        """The transaction that commits the new content together with what you write in it."""
        if not self:
            raise UsageError(
                f"The content is {self.kind} and there is nothing to write: use `if change:`"
            )
        return self._work

    async def __aenter__(self) -> Self:
        self._span = self._tenure.trace.span.child("commit", self._key)
        try:
            await self._look()
        except BaseException as error:
            self._span.end(error)
            raise
        self._span.note(content=self.kind)
        self._span.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._span.ending(error):
            if error is None:
                await self._finish()
            else:
                await self._undo(error)

    async def _look(self) -> None:
        self._tenure.fence()
        async with self._tenure.open_transaction(write=False) as transaction:
            same = checkpoints.has_content(self._key, self._offer)
            self._key_id = await transaction.run(same)
        if self._key_id is None:
            await self._work._begun()

    async def _finish(self) -> None:
        try:
            changes = self._components.changes() if self else []
            if changes:
                await self._work._run(components.save(changes, self._tenure.fence().token))
            await self._work._renew_if_long(self._tenure.fence())
            await self._work._end()
        except BaseException as failure:
            await self._undo(failure)
            raise
        self._components.saved(changes)
        if self._key_id is not None:
            self._note_unchanged(self._key_id, self.content_hash)

    async def _undo(self, error: BaseException) -> None:
        try:
            await self._work._end(error)
        finally:
            self._components.undo(error)

    async def _compare(self, transaction: AsyncTransaction) -> None:
        """Decide under the row's lock: another role may have committed this content meanwhile."""
        await transaction.run(leases.check(self._tenure.fence()))
        self.kind = await transaction.run(checkpoints.content(self._key, self._offer))


class _ChangeWork(AsyncWork):
    def __init__(self, change: AsyncChange) -> None:
        super().__init__(change._tenure.open_transaction)
        self._change = change

    async def _guard(self, transaction: AsyncTransaction) -> None:
        await self._change._compare(transaction)
