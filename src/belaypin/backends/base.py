"""What a backend is: something that opens transactions, in which programs and users' SQL run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal, Protocol, TypeVar

from belaypin.catalog import Dialect
from belaypin.program import Program

__all__ = [
    "LONGEST_REST_S",
    "READ_ONLY",
    "REST_ALONE",
    "TRANSACTION_ENDED",
    "WAITS_FOR_ITSELF",
    "AsyncBackend",
    "AsyncTransaction",
    "Backend",
    "Mode",
    "Result",
    "Transaction",
]

T = TypeVar("T")
Mode = Literal["rwc", "rw", "ro"]
"""How a database is opened: made if need be, only if it is there, only to be read."""

Params = Sequence[Any] | dict[str, Any]


class Result:
    """What a statement returned: its ``rows`` and ``rowcount`` (-1: the driver can't tell)."""

    __slots__ = ("_next", "rowcount", "rows")

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int) -> None:
        self.rows = rows
        self.rowcount = rowcount
        self._next = 0

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row, or None after the last."""
        if self._next >= len(self.rows):
            return None
        self._next += 1
        return self.rows[self._next - 1]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows that ``fetchone`` has not returned yet."""
        rest, self._next = self.rows[self._next :], len(self.rows)
        return rest


TRANSACTION_ENDED = (
    "A statement ended the transaction that belaypin had opened (COMMIT, ROLLBACK, ON CONFLICT "
    "ROLLBACK, or a failure that the database answers so), and nothing more is written in it. Take "
    "that statement out, or let the exception through: the block ends the transaction by itself."
)

READ_ONLY = (
    "This store was opened with read_only=True, so nothing was written. Open it without, to write."
)

WAITS_FOR_ITSELF = (
    "This worker has a transaction open already, and a second one would wait for it for ever. "
    "Inside a commit block use its tx, or do this before or after the block."
)


LONGEST_REST_S = 0.05
"""So long does a long read rest at most when it pauses."""
REST_ALONE = 0.1
"""How long it rests where nobody has written since the pause before, in times of what its part took."""


class Transaction(Protocol):
    """An open transaction: programs, and the user's own statements, in one."""

    def run(self, program: Program[T]) -> T: ...
    def execute(self, sql: str, params: Params = ()) -> Result: ...
    def executemany(self, sql: str, rows: Iterable[Params]) -> None: ...
    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None: ...


class Backend(Protocol):
    """A database: ``transaction`` commits when its block ends, and undoes all on an exception.

    A thread may have one writing transaction open at a time (``is_writing``): UsageError.
    ``forsake`` undoes what the thread still has open, where a signal kept it from being ended.
    ``side`` is a backend of its own for the heartbeat, ``for_threads`` one that closes with this
    one, for threads that work beside it. ``shrink`` gives free pages back to the file system, with
    nobody else at it; it returns the file's bytes before and after, None if there is no file.
    """

    dialect: Dialect
    pinned_clock: Callable[[], int] | None

    def transaction(self, *, write: bool = True) -> AbstractContextManager[Transaction]: ...
    def is_writing(self) -> bool: ...
    def forsake(self) -> None: ...
    def side(self) -> Backend: ...
    def for_threads(self) -> Backend: ...
    def shrink(self) -> tuple[int, int] | None: ...
    def close(self) -> None: ...


class AsyncTransaction(Protocol):
    """``Transaction``, awaited."""

    async def run(self, program: Program[T]) -> T: ...
    async def execute(self, sql: str, params: Params = ()) -> Result: ...
    async def executemany(self, sql: str, rows: Iterable[Params]) -> None: ...
    async def copy(
        self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
    ) -> None: ...


class AsyncBackend(Protocol):
    """``Backend``, awaited, for tasks; but its ``side`` and ``for_threads`` are for threads."""

    dialect: Dialect
    pinned_clock: Callable[[], int] | None

    def transaction(
        self, *, write: bool = True
    ) -> AbstractAsyncContextManager[AsyncTransaction]: ...
    def is_writing(self) -> bool: ...
    def side(self) -> Backend: ...
    def for_threads(self) -> Backend: ...
    async def shrink(self) -> tuple[int, int] | None: ...
    async def aclose(self) -> None: ...
