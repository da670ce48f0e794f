"""Joined: belaypin's writes as a part of the user's own open transaction, behind a savepoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from belaypin._async.records import AsyncRecords
from belaypin.backends.base import AsyncTransaction, Params, Result
from belaypin.catalog import Catalog, Dialect, ParamStyle
from belaypin.errors import BelaypinError, SqlError, UsageError
from belaypin.foreign import Colour, family, translate_foreign
from belaypin.foreign.asyncpg import Asyncpg  # sync: from belaypin.foreign.django import Django
from belaypin.heartbeat import Heartbeat
from belaypin.program import Program, Rows, Statement
from belaypin.programs import migrations

__all__ = ["AsyncJoined"]

T = TypeVar("T")

_SAVEPOINT = "belaypin_joined"


class AsyncJoined(AsyncRecords, AbstractAsyncContextManager["AsyncJoined"]):
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
        self._block: AbstractAsyncContextManager[AsyncTransaction] | None = None

    async def __aenter__(self) -> Self:
        self._block = self._open()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        block, self._block = self._block, None
        if block is not None:
            await block.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _open(self, *, write: bool = True) -> AsyncIterator[AsyncTransaction]:
        joined = _JoinedTransaction(self._connection, self._catalog)
        await joined.begin()
        await joined.query(f"SAVEPOINT {_SAVEPOINT}")
        try:
            if not self._is_same_store:
                await self._check_store(joined)
            yield joined
        except BaseException:
            await joined.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
            await joined.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")
            raise
        await joined.query(f"RELEASE SAVEPOINT {_SAVEPOINT}")

    async def _check_store(self, joined: _JoinedTransaction) -> None:
        try:
            found = await joined.run(migrations.epoch())
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

    async def begin(self) -> None:
        with self._in_our_words():
            await self._connection.begin()

    async def run(self, program: Program[T]) -> T:
        try:
            statement = next(program)
            while True:
                statement = program.send(await self._statement(statement))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            program.close()

    async def query(self, sql: str, params: Params = ()) -> Rows:
        with self._in_our_words():
            return await self._connection.query(sql, params)

    async def execute(self, sql: str, params: Params = ()) -> Result:
        with self._in_our_words():
            return await self._connection.execute(sql, params)

    async def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        for row in rows:
            await self.execute(sql, row)

    async def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        raise UsageError(
            "copy() has no way through a joined connection: use your own connection's COPY or "
            "executemany; it is the same transaction."
        )

    async def _statement(self, statement: Statement) -> Rows:
        return await self.query(*self._catalog.bind(statement))

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
    async def begin(self) -> None:
        """Make sure that a transaction is open that ends only when the user ends it."""

    async def query(self, sql: str, params: Params = ()) -> Rows:
        """Run one statement of belaypin's."""

    async def execute(self, sql: str, params: Params) -> Result:
        """Run one statement of the user's."""


class _Cursors:
    """A connection whose ``execute`` gives a cursor."""

    dialect: Dialect | None = None
    style: ParamStyle = "named"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def query(self, sql: str, params: Params = ()) -> Rows:
        return (await self.execute(sql, params)).rows

    async def execute(self, sql: str, params: Params) -> Result:
        cursor = await self._connection.execute(sql, params)
        rows = await cursor.fetchall() if cursor.description else []
        return Result([tuple(row) for row in rows], cursor.rowcount)


class _Sqlite(_Cursors):
    dialect: Dialect | None = "sqlite"

    async def begin(self) -> None:
        # A savepoint outside a transaction would commit at its release.
        if not self._connection.in_transaction:
            await self._connection.execute("BEGIN IMMEDIATE")


class _Psycopg(_Cursors):
    dialect: Dialect | None = "postgres"
    style: ParamStyle = "pyformat"

    async def begin(self) -> None:
        if self._connection.autocommit and self._connection.info.transaction_status.name == "IDLE":
            raise UsageError(
                "This connection is in autocommit mode and has no transaction open, so there is "
                "nothing to join. Open one: `with connection.transaction(): ...`."
            )

    async def execute(self, sql: str, params: Params) -> Result:
        cursor = await self._connection.execute(sql, params or None)
        rows = await cursor.fetchall() if cursor.description else []
        return Result([tuple(row) for row in rows], cursor.rowcount)


class _SqlAlchemy(_Cursors):
    """A Session or a Connection, through its public ``exec_driver_sql``."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        is_session = not hasattr(connection, "exec_driver_sql")
        dialect = (connection.get_bind() if is_session else connection).dialect
        self.dialect = {"sqlite": "sqlite", "postgresql": "postgres"}.get(dialect.name)  # type: ignore[assignment]
        self.style = dialect.paramstyle if dialect.paramstyle != "format" else "pyformat"

    async def begin(self) -> None:
        # pysqlite begins with the first write only, and a savepoint before it would commit.
        if self.dialect == "sqlite":
            connection = await self._raw()
            pooled = await connection.get_raw_connection()  # sync: pooled = connection.connection
            if not pooled.driver_connection.in_transaction:
                await self.execute("BEGIN IMMEDIATE", ())

    async def execute(self, sql: str, params: Params) -> Result:
        result = await (await self._raw()).exec_driver_sql(sql, params or None)
        rows = result.fetchall() if result.returns_rows else []
        return Result([tuple(row) for row in rows], result.rowcount)

    async def _raw(self) -> Any:
        if hasattr(self._connection, "exec_driver_sql"):
            return self._connection
        return await self._connection.connection()


_KINDS: dict[str, Callable[[Any], _Connection]] = {
    "sqlite3": _Sqlite,
    "aiosqlite": _Sqlite,
    "psycopg": _Psycopg,
    "sqlalchemy": _SqlAlchemy,
    "asyncpg": Asyncpg,  # sync: "django": Django,
}
_COLOUR: Colour = "async"  # sync: _COLOUR: Colour = "sync"
