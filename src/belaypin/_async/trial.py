"""A trial of one item: if it fails, that item is put aside, and the rest of the commit goes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from belaypin.backends.base import AsyncTransaction
from belaypin.errors import UsageError

__all__ = ["AsyncTrial"]

_SAVEPOINT = "belaypin_attempt"


class AsyncTrial(AbstractAsyncContextManager["AsyncTrial"]):
    """``with tx.attempt(item) as attempt``: what the block writes is undone if it raises.

    An exception that the policy covers is then swallowed, with ``failed`` and ``error`` to tell;
    any other goes on its way and undoes the whole commit.
    """

    def __init__(
        self,
        begin: Callable[[], Awaitable[AsyncTransaction]],
        end: Callable[[BaseException | None], bool],
    ) -> None:
        self.error: Exception | None = None
        """What the block raised, if it was swallowed."""
        self._begin = begin
        self._end = end
        self._transaction: AsyncTransaction | None = None

    @property
    def failed(self) -> bool:
        """Whether the block raised and its item was put aside."""
        return self.error is not None

    async def __aenter__(self) -> Self:
        if self._transaction is not None:
            raise UsageError("This attempt was made already: call tx.attempt(item) once an item.")
        self._transaction = await self._begin()
        await self._transaction.execute(f"SAVEPOINT {_SAVEPOINT}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._transaction is not None
        is_put_aside = self._end(error)
        if error is not None and not is_put_aside:
            return False
        if isinstance(error, Exception):
            await self._transaction.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            self.error = error
        await self._transaction.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}")
        return is_put_aside
