# Generated from src/belaypin/backends/_async/postgres.py by tools/generate_sync.py; do not edit.
"""PostgreSQL through psycopg 3 and its pool."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from belaypin.backends.base import (
    LONGEST_REST_S,
    READ_ONLY,
    REST_ALONE,
    TRANSACTION_ENDED,
    WAITS_FOR_ITSELF,
    Backend,
    Params,
    Result,
)
from belaypin.backends.postgres import (
    BEGIN_READ,
    BEGIN_WRITE,
    DRIVER_ERRORS,
    LIMIT_LOCK_WAITS,
    LOCK_TIMEOUT_S,
    NEWEST_WRITER,
    REST_BESIDE_WRITERS,
    SIDE_LOCK_TIMEOUT_S,
    copy_statement,
    translate,
)
from belaypin.catalog import Catalog, Dialect
from belaypin.clock import monotonic_s, sleep_s
from belaypin.errors import SqlError, StoreClosed, StoreUnavailable, UsageError
from belaypin.forks import ForkGuard
from belaypin.program import PAUSE, Program, Rows, Statement

__all__ = ["PostgresBackend", "PostgresTransaction"]

T = TypeVar("T")

_POOL_CONNECTIONS = 8
_CONNECT_TIMEOUT_S = 10.0


class PostgresTransaction:
    """An open transaction on one connection."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        catalog: Catalog,
        forks: ForkGuard,
        *,
        write: bool,
    ) -> None:
        self.connection = connection
        self._catalog = catalog
        self._forks = forks
        self._writes = write
        self._since_s = monotonic_s()
        self._rest_share = REST_BESIDE_WRITERS
        self._newest: Any = None

    def run(self, program: Program[T]) -> T:
        self._check()
        try:
            statement = next(program)
            while True:
                statement = program.send(self._statement(statement))
        except StopIteration as stop:
            result: T = stop.value
            return result
        except DRIVER_ERRORS as error:
            raise translate(error) from error
        finally:
            program.close()

    def execute(self, sql: str, params: Params = ()) -> Result:
        self._check()
        try:
            # Unless it is prepared, a text without parameters may hold several statements, and
            # one of them may be COMMIT.
            alone = True if not params else None
            cursor = self.connection.execute(sql, params or None, prepare=alone)
            return Result(cursor.fetchall() if cursor.description else [], cursor.rowcount)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        self._check()
        try:
            self.connection.cursor().executemany(sql, rows)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self._check()
        try:
            with self.connection.cursor().copy(copy_statement(table, columns)) as copying:
                for row in rows:
                    copying.write_row(row)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    def _check(self) -> None:
        """Refuse to go on in a forked child, or when a statement has ended the transaction."""
        self._forks.check()
        if self.connection.info.transaction_status == TransactionStatus.IDLE:
            raise SqlError(TRANSACTION_ENDED)

    def _statement(self, statement: Statement) -> Rows:
        if statement.many:
            self.connection.cursor().executemany(*self._catalog.bind_many(statement))
            return ()
        if statement is PAUSE:
            self._rest()
            return ()
        cursor = self.connection.execute(*self._catalog.bind(statement))
        return cursor.fetchall() if cursor.description else []

    def _rest(self) -> None:
        """Let go of what was seen so far, leave the processors to others, and look again."""
        if self._writes:
            return
        self.connection.execute("COMMIT")
        rest_s = min((monotonic_s() - self._since_s) * self._rest_share, LONGEST_REST_S)
        sleep_s(rest_s)
        self.connection.execute(BEGIN_READ)
        newest = self.connection.execute(NEWEST_WRITER).fetchone()
        self._rest_share = REST_ALONE if newest == self._newest else REST_BESIDE_WRITERS
        self._newest = newest
        self._since_s = monotonic_s()


class PostgresBackend:
    """A PostgreSQL database. ``open`` it before use."""

    dialect: Dialect = "postgres"

    def __init__(
        self,
        conninfo: str,
        *,
        pinned_clock: Callable[[], int] | None = None,
        connections: int = _POOL_CONNECTIONS,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        read_only: bool = False,
    ) -> None:
        self.pinned_clock = pinned_clock
        self.read_only = read_only
        self.catalog = Catalog("postgres", "pyformat", pinned_clock=pinned_clock)
        self._conninfo = conninfo
        self._lock_timeout_s = lock_timeout_s
        self._writing: set[int | None] = set()
        self._forks = ForkGuard()
        self._pool = ConnectionPool(
            conninfo,
            min_size=0,
            max_size=connections,
            open=False,
            timeout=_CONNECT_TIMEOUT_S,
            reconnect_timeout=_CONNECT_TIMEOUT_S,
            kwargs={"autocommit": True},  # we say BEGIN and COMMIT ourselves
            configure=self._configure,
            num_workers=1,
        )

    def open(self) -> None:
        """Connect once, so that a wrong URL is told now, with the server's own words."""
        try:
            connection = psycopg.Connection.connect(self._conninfo, autocommit=True)
            connection.close()
        except psycopg.ProgrammingError as error:
            raise UsageError(
                f"This is no address of a PostgreSQL database: {error} Write postgresql:///app or "
                f"postgresql://user@host/app?option=value, with libpq's options."
            ) from error
        except psycopg.Error as error:
            raise translate(error, "connecting") from error
        self._pool.open()

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[PostgresTransaction]:
        self._forks.check()
        owner = self._enter() if write else None
        try:
            connection = self._begin(BEGIN_WRITE if write else BEGIN_READ)
            try:
                try:
                    yield PostgresTransaction(connection, self.catalog, self._forks, write=write)
                    self._forks.check()
                except BaseException:
                    if not self._forks.is_child:
                        _rollback(connection)
                    raise
                _commit(connection)
            finally:
                if not self._forks.is_child:
                    self._pool.putconn(connection)
        finally:
            self._writing.discard(owner)

    def is_writing(self) -> bool:
        return _owner() in self._writing

    def forsake(self) -> None:
        """Nothing to do: what a signal kept from being ended, the server ends with its session."""

    def side(self) -> Backend:
        from belaypin.backends._sync.postgres import PostgresBackend

        backend = PostgresBackend(
            self._conninfo,
            pinned_clock=self.pinned_clock,
            connections=1,
            lock_timeout_s=SIDE_LOCK_TIMEOUT_S,
            read_only=self.read_only,
        )
        backend.open()
        return backend

    def shrink(self) -> None:
        """Nothing: autovacuum makes room for new rows by itself."""

    def for_threads(self) -> Backend:
        return self

    def close(self) -> None:
        if self._forks.is_child:
            return
        self._pool.close()

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        """Limit how long a new connection waits for a row, unless its user or role has a limit."""
        connection.execute(LIMIT_LOCK_WAITS, (f"{self._lock_timeout_s:g}s",))

    def _enter(self) -> int:
        """This thread or task has a writing transaction from now on, and but one at a time."""
        if self.read_only:
            raise UsageError(READ_ONLY)
        owner = _owner()
        if owner in self._writing:
            raise UsageError(WAITS_FOR_ITSELF)
        self._writing.add(owner)
        return owner

    def _begin(self, begin: str) -> psycopg.Connection[Any]:
        """A connection with a transaction begun; those that the server dropped are replaced."""
        tries_left = _POOL_CONNECTIONS + 1
        while True:
            connection = self._checkout()
            try:
                connection.execute(begin)
            except BaseException as error:
                connection.close()
                self._pool.putconn(connection)
                tries_left -= 1
                if not isinstance(error, psycopg.OperationalError):
                    raise
                if not tries_left:
                    raise translate(error) from error
            else:
                return connection

    def _checkout(self) -> psycopg.Connection[Any]:
        try:
            return self._pool.getconn()
        except PoolTimeout as error:
            raise StoreUnavailable(
                f"No connection to PostgreSQL within {_CONNECT_TIMEOUT_S:g} s. Check that the "
                f"server runs and accepts connections, then run again."
            ) from error
        except psycopg.Error as error:  # PoolClosed among them
            if self._pool.closed:
                raise StoreClosed(
                    "The store was closed. Open it again with belaypin.open()."
                ) from error
            raise translate(error) from error


def _owner() -> int:
    return threading.get_ident()


def _commit(connection: psycopg.Connection[Any]) -> None:
    """COMMIT, unless the transaction has failed or was ended: PostgreSQL would not say so."""
    status = connection.info.transaction_status
    if status == TransactionStatus.INTRANS:
        try:
            connection.execute("COMMIT")
        except psycopg.Error as error:
            raise translate(error, "committing") from error
        return
    if status == TransactionStatus.UNKNOWN:
        raise StoreUnavailable("The connection to PostgreSQL was lost. Run again.")
    _rollback(connection)
    if status == TransactionStatus.INERROR:
        raise SqlError(
            "An earlier statement of this transaction failed, so nothing of it was committed. Let "
            "its exception through, or guard the statement with a SAVEPOINT."
        )
    raise SqlError(TRANSACTION_ENDED)


def _rollback(connection: psycopg.Connection[Any]) -> None:
    """Undo what is open; a connection that can't is closed, which undoes it as well."""
    try:
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.execute("ROLLBACK")
    except psycopg.Error:
        connection.close()
