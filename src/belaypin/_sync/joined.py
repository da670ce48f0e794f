# Generated from src/belaypin/_async/joined.py by tools/generate_sync.py; do not edit.
"""Joined: belaypin's writes as a part of the user's own open transaction, behind a savepoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from belaypin._sync.records import Records
from belaypin.backends.base import Params, Result, Transaction
from belaypin.catalog import Catalog, Dialect, ParamStyle
from belaypin.errors import BelaypinError, SqlError, UsageError
from belaypin.foreign import Colour, family, translate_foreign
from belaypin.foreign.django import Django
from belaypin.heartbeat import Heartbeat
from belaypin.program import Program, Rows, Statement
from belaypin.programs import migrations

__all__ = ["Joined"]

T = TypeVar("T")

_SAVEPOINT = "belaypin_joined"


class Joined(Records, AbstractContextManager["Joined"]):
    """The store's reads and writes inside the transaction of your own connection or session.

    They take place when you commit, and not at all when you roll back. Pass it to
    ``page.commit(joined)`` to have a page in your transaction. As a ``with`` block, everything
    in the block is undone together if it raises.
    """

    def __init__(
        self,
        connection: Any,
        dialect: Dialect,
        epoch: str,
        pinned_clock: Callable[[], int] | None,
        history: int,
    ) -> None:
        self._history = history
        self._connection = _KINDS[family(connection, _COLOUR)](connection)
        if self._connection.dialect not in (dialect, None):
            raise UsageError(
                f"The connection speaks to {self._connection.dialect}, the store is on {dialect}. "
                f"A transaction can only be joined in the same database."
            )
        self._catalog = Catalog(dialect, self._connection.style, pinned_clock=pinned_clock)
        self._epoch = epoch
        self._is_same_store = False
        self._block: AbstractContextManager[Transaction] | None = None

    def __enter__(self) -> Self:
        self._block = self._open()
        self._block.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        if block is not None:
            block.__exit__(kind, error, traceback)

    @contextmanager
    def _open(self, *, write: bool = True) -> Iterator[Transaction]:
        joined = _JoinedTransaction(self._connection, self._catalog)
        joined.begin()
        joined.query(f"SAVEPOINT {_SAVEPOINT}")
        try:
            if not self._is_same_store:
                self._check_store(joined)
            yield joined
        except BaseException:
            joined.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            joined.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")
            raise
        joined.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")

    def _check_store(self, joined: _JoinedTransaction) -> None:
        try:
            found = joined.run(migrations.epoch())
        except SqlError:
            found = ""
        if found != self._epoch:
            raise UsageError(
                "The connection is to another database than the store, so the two can't share a "
                "transaction. Connect to the database that the store is in."
            )
        self._is_same_store = True

    def _heartbeat_for_once(self) -> Heartbeat | None:
        # Until the user commits nobody else can see the claim, so there is nothing to renew.
        return None


class _JoinedTransaction:
    """Runs programs and statements on a foreign connection."""

    def __init__(self, connection: _Connection, catalog: Catalog) -> None:
        self._connection = connection
        self._catalog = catalog

    def begin(self) -> None:
        with self._in_our_words():
            self._connection.begin()

    def run(self, program: Program[T]) -> T:
        try:
            statement = next(program)
            while True:
                statement = program.send(self._statement(statement))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            program.close()

    def query(self, sql: str, params: Params = ()) -> Rows:
        with self._in_our_words():
            return self._connection.query(sql, params)

    def execute(self, sql: str, params: Params = ()) -> Result:
        with self._in_our_words():
            return self._connection.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        for row in rows:
            self.execute(sql, row)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        raise UsageError(
            "copy() has no way through a joined connection: use your own connection's COPY or "
            "executemany; it is the same transaction."
        )

    def _statement(self, statement: Statement) -> Rows:
        return self.query(*self._catalog.bind(statement))

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except BelaypinError:
            raise
        except Exception as error:
            raise translate_foreign(error, self._catalog.dialect) from error


class _Connection(Protocol):
    """A connection of the user's, whatever made it: how to begin, and how to execute."""

    @property
    def dialect(self) -> Dialect | None: ...
    @property
    def style(self) -> ParamStyle: ...
    def begin(self) -> None:
        """Make sure that a transaction is open that ends only when the user ends it."""

    def query(self, sql: str, params: Params = ()) -> Rows:
        """Run one statement of belaypin's."""

    def execute(self, sql: str, params: Params) -> Result:
        """Run one statement of the user's."""


class _Cursors:
    """A connection whose ``execute`` gives a cursor."""

    dialect: Dialect | None = None
    style: ParamStyle = "named"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def query(self, sql: str, params: Params = ()) -> Rows:
        return self.execute(sql, params).rows

    def execute(self, sql: str, params: Params) -> Result:
        cursor = self._connection.execute(sql, params)
        rows = cursor.fetchall() if cursor.description else []
        return Result([tuple(row) for row in rows], cursor.rowcount)


class _Sqlite(_Cursors):
    dialect: Dialect | None = "sqlite"

    def begin(self) -> None:
        # A savepoint outside a transaction would commit at its release.
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")


class _Psycopg(_Cursors):
    dialect: Dialect | None = "postgres"
    style: ParamStyle = "pyformat"

    def begin(self) -> None:
        if self._connection.autocommit and self._connection.info.transaction_status.name == "IDLE":
            raise UsageError(
                "This connection is in autocommit mode and has no transaction open, so there is "
                "nothing to join. Open one: `with connection.transaction(): ...`."
            )

    def execute(self, sql: str, params: Params) -> Result:
        cursor = self._connection.execute(sql, params or None)
        rows = cursor.fetchall() if cursor.description else []
        return Result([tuple(row) for row in rows], cursor.rowcount)


class _SqlAlchemy(_Cursors):
    """A Session or a Connection, through its public ``exec_driver_sql``."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        is_session = not hasattr(connection, "exec_driver_sql")
        dialect = (connection.get_bind() if is_session else connection).dialect
        self.dialect = {"sqlite": "sqlite", "postgresql": "postgres"}.get(dialect.name)  # type: ignore[assignment]
        self.style = dialect.paramstyle if dialect.paramstyle != "format" else "pyformat"

    def begin(self) -> None:
        # pysqlite begins with the first write only, and a savepoint before it would commit.
        if self.dialect == "sqlite":
            connection = self._raw()
            pooled = connection.connection
            if not pooled.driver_connection.in_transaction:
                self.execute("BEGIN IMMEDIATE", ())

    def execute(self, sql: str, params: Params) -> Result:
        result = self._raw().exec_driver_sql(sql, params or None)
        rows = result.fetchall() if result.returns_rows else []
        return Result([tuple(row) for row in rows], result.rowcount)

    def _raw(self) -> Any:
        if hasattr(self._connection, "exec_driver_sql"):
            return self._connection
        return self._connection.connection()


_KINDS: dict[str, Callable[[Any], _Connection]] = {
    "sqlite3": _Sqlite,
    "aiosqlite": _Sqlite,
    "psycopg": _Psycopg,
    "sqlalchemy": _SqlAlchemy,
    "django": Django,
}
_COLOUR: Colour = "sync"
