"""SQLite for asyncio: the same backend, its blocking calls made in threads of its own.

A call that has begun can't be taken back. So a cancelled task waits for its thread before it goes
on to unwind: nobody is ever handed a connection that is still busy, and nobody believes that a
commit was cancelled which in truth took place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from belaypin.backends.base import Params, Result
from belaypin.backends.sqlite import SqliteBackend, SqliteTransaction
from belaypin.backends.threads import in_thread
from belaypin.catalog import Dialect
from belaypin.errors import StoreClosed
from belaypin.program import Program

__all__ = ["AsyncSqliteBackend"]

T = TypeVar("T")

# One for the writer whose turn it is, the others for readers and for those who wait for their turn.
_THREADS = 16


class AsyncSqliteTransaction:
    """An open transaction, each of its calls made in a thread."""

    def __init__(self, transaction: SqliteTransaction, threads: ThreadPoolExecutor) -> None:
        self._transaction = transaction
        self._threads = threads

    async def run(self, program: Program[T]) -> T:
        transaction = self._transaction
        return await in_thread(self._threads, transaction.run, program, stop=transaction.stop)

    async def execute(self, sql: str, params: Params = ()) -> Result:
        return await in_thread(self._threads, self._transaction.execute, sql, params)

    async def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        await in_thread(self._threads, self._transaction.executemany, sql, rows)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        await in_thread(self._threads, self._transaction.copy, table, columns, rows)


class AsyncSqliteBackend:
    """An SQLite database, awaited."""

    dialect: Dialect = "sqlite"

    def __init__(self, backend: SqliteBackend) -> None:
        self.pinned_clock = backend.pinned_clock
        self._backend = backend
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="belaypin-sqlite")
        # Tasks wait here, not in threads: the writer must always find a thread to commit in.
        self._turn = asyncio.Lock()
        self._is_closed = False

    @asynccontextmanager
    async def transaction(self, *, write: bool = True) -> AsyncIterator[AsyncSqliteTransaction]:
        if self._is_closed:
            raise StoreClosed("The store was closed. Open it again with belaypin.aopen().")
        owner = id(asyncio.current_task())
        waits = (write or self._backend.is_memory) and not self._backend.is_owned_by(owner)
        if waits:
            await self._turn.acquire()
        try:
            transaction = await self._begin(owner, write=write)
            try:
                yield AsyncSqliteTransaction(transaction, self._threads)
            except BaseException:
                await in_thread(self._threads, self._backend.rollback, transaction)
                raise
            await in_thread(self._threads, self._backend.commit, transaction)
        finally:
            if waits:
                self._turn.release()

    def is_writing(self) -> bool:
        return self._backend.is_owned_by(id(asyncio.current_task()))

    def side(self) -> SqliteBackend:
        return self._backend.side()

    async def shrink(self) -> tuple[int, int]:
        async with self._turn:
            return await in_thread(self._threads, self._backend.shrink)

    def for_threads(self) -> SqliteBackend:
        return self._backend

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await in_thread(self._threads, self._backend.close)
        self._threads.shutdown(wait=False)

    async def _begin(self, owner: int, *, write: bool) -> SqliteTransaction:
        begun: list[SqliteTransaction] = []

        def begin() -> None:
            begun.append(self._backend.begin(write=write, owner=owner))

        try:
            await in_thread(self._threads, begin)
        except asyncio.CancelledError:
            # Cancelled while the thread was beginning: it may have begun after all.
            for transaction in begun:
                await in_thread(self._threads, self._backend.rollback, transaction)
            raise
        return begun[0]
