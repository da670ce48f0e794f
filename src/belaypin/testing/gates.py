"""Gates: a backend that asks, before every statement, whether it may run.

This is the seam that the explorer and the SIGKILL harness share. Programs yield named statements,
so nothing in the semantics, the engines or the user's code has to know that it is being watched.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, TypeVar

import belaypin
from belaypin.backends.base import Backend, Params, Result, Transaction
from belaypin.catalog import Catalog, Dialect
from belaypin.program import Program, Rows, Statement

__all__ = ["Committed", "Gate", "GatedBackend", "Point", "on_commits"]

T = TypeVar("T")

_NAME_CHARS = 48


class Point(NamedTuple):
    """A place where work can be stopped: right before a statement, or an end of a transaction."""

    kind: Literal["begin", "statement", "commit", "rollback", "own"]
    name: str
    """The statement's name in the catalog; of a statement of the user's, the start of its text."""
    sql: str = ""
    write: bool = True
    """Whether it is part of a transaction that may write."""
    transaction: Transaction | None = None
    """The transaction that it is part of, once that has begun."""

    def __str__(self) -> str:
        return self.name


Gate = Callable[[Point], None]
"""Called before each point. It may wait, count, kill the process, or raise to end the work."""


Committed = Callable[[Sequence[str]], None]
"""Called once a writing transaction is committed, with the names of its statements."""


class GatedBackend:
    """``backend``, with ``gate`` called before whatever is sent to the database."""

    def __init__(self, backend: Backend, gate: Gate, committed: Committed | None = None) -> None:
        self.dialect: Dialect = backend.dialect
        self.pinned_clock = backend.pinned_clock
        self._backend = backend
        self._gate = gate
        self._committed = committed
        self._catalog = Catalog(backend.dialect, pinned_clock=backend.pinned_clock)

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Transaction]:
        self._gate(Point("begin", "BEGIN" if write else "BEGIN READ ONLY", write=write))
        with self._backend.transaction(write=write) as opened:
            gated = _GatedTransaction(opened, self._gate, self._catalog, write=write)
            try:
                yield gated
            except BaseException:
                self._gate(Point("rollback", "ROLLBACK", write=write, transaction=opened))
                raise
            self._gate(Point("commit", "COMMIT", write=write, transaction=opened))
        if write and self._committed is not None:
            self._committed(gated.names)

    def is_writing(self) -> bool:
        return self._backend.is_writing()

    def forsake(self) -> None:
        self._backend.forsake()

    def side(self) -> Backend:
        return GatedBackend(self._backend.side(), self._gate, self._committed)

    def shrink(self) -> tuple[int, int] | None:
        return self._backend.shrink()

    def for_threads(self) -> Backend:
        return GatedBackend(self._backend.for_threads(), self._gate, self._committed)

    def close(self) -> None:
        self._backend.close()


class _GatedTransaction:
    def __init__(
        self, transaction: Transaction, gate: Gate, catalog: Catalog, *, write: bool
    ) -> None:
        self._transaction = transaction
        self._gate = gate
        self._catalog = catalog
        self._write = write
        self.names: list[str] = []

    def run(self, program: Program[T]) -> T:
        return self._transaction.run(self._gated(program))

    def execute(self, sql: str, params: Params = ()) -> Result:
        self._pass(_shortened(sql), sql)
        return self._transaction.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        self._pass(_shortened(sql), sql)
        self._transaction.executemany(sql, rows)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self._pass(f"COPY {table}", f"INSERT INTO {table}")
        self._transaction.copy(table, columns, rows)

    def _gated(self, program: Program[T]) -> Generator[Statement, Rows, T]:
        """``program`` once more, with a gate before each of its statements."""
        try:
            statement = next(program)
            while True:
                self._pass(statement.name, self._catalog.bind(statement)[0])
                rows = yield statement
                statement = program.send(rows)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            program.close()

    def _pass(self, name: str, sql: str) -> None:
        self.names.append(name)
        self._gate(Point("statement", name, sql, self._write, self._transaction))


def on_commits(committed: Committed, gate: Gate = lambda _: None) -> None:
    """Have both called for every store that this process opens from now on."""
    open_backend = belaypin._backend
    belaypin._backend = lambda *args: GatedBackend(open_backend(*args), gate, committed)


def _shortened(sql: str) -> str:
    words = " ".join(sql.split())
    return words if len(words) <= _NAME_CHARS else f"{words[:_NAME_CHARS]}..."
