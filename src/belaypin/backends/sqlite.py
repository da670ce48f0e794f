"""SQLite through the standard library's driver: one file, many readers, one writer at a time.

Every transaction that writes begins with BEGIN IMMEDIATE, so that it can't fail half-way because
somebody else wrote first. Commits are durable (synchronous=FULL) before they return.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote_from_bytes

from belaypin.backends.base import (
    LONGEST_REST_S,
    READ_ONLY,
    REST_ALONE,
    TRANSACTION_ENDED,
    Mode,
    Params,
    Result,
)
from belaypin.backends.turn import Turn
from belaypin.catalog import Catalog, Dialect
from belaypin.clock import monotonic_s, sleep_s
from belaypin.errors import (
    BelaypinError,
    CorruptRecord,
    SqlError,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from belaypin.forks import ForkGuard
from belaypin.program import PAUSE, Program, Rows, Statement, drive

__all__ = [
    "SqliteBackend",
    "SqliteTransaction",
    "has_safe_wal",
    "quoted",
    "translate",
    "translated",
]

T = TypeVar("T")

DRIVER_ERRORS = (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError)
"""What the driver raises: the last two for values that SQLite can't hold."""

BUSY_TIMEOUT_S = 30.0
SIDE_BUSY_TIMEOUT_S = 2.0  # the heartbeat tries again anyway, and closing the store waits for it
_IDLE_CONNECTIONS = 4
# Of five moments one is ours: writers look only now and then whether they can go on.
_REST_BESIDE_WRITERS = 4.0
_MEMORY = ":memory:"
_SIZE = ("page_count", "page_size")


class SqliteTransaction:
    """An open transaction on one connection."""

    def __init__(
        self, connection: sqlite3.Connection, catalog: Catalog, forks: ForkGuard, owner: int | None
    ) -> None:
        self.connection = connection
        self.owner = owner
        """The thread or task whose turn it is; None for one that only reads, and takes no turn."""
        self.is_over = False
        self._since_s = monotonic_s()
        self._rest = _REST_BESIDE_WRITERS
        self._version: Any = None
        self._is_stopped = False
        self._forks = forks
        self._catalog = catalog

    def run(self, program: Program[T]) -> T:
        with translated():
            return drive(program, self._statement)

    def execute(self, sql: str, params: Params = ()) -> Result:
        # Called once per item by many loops, so without a context manager's cost.
        if self._forks.is_child or not self.connection.in_transaction:
            self._refuse()
        try:
            cursor = self.connection.execute(sql, params)
            return Result(cursor.fetchall() if cursor.description else [], cursor.rowcount)
        except DRIVER_ERRORS as error:
            raise translate(error) from error

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        if self._forks.is_child or not self.connection.in_transaction:
            self._refuse()
        with translated():
            self.connection.executemany(sql, rows)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        names = ", ".join(map(quoted, columns))
        marks = ", ".join("?" * len(columns))
        self.executemany(f"INSERT INTO {quoted(table)} ({names}) VALUES ({marks})", rows)  # noqa: S608 -- quoted

    def _statement(self, statement: Statement) -> Rows:
        if self._forks.is_child or not self.connection.in_transaction:
            self._refuse()
        if statement.many:
            self.connection.executemany(*self._catalog.bind_many(statement))
            return ()
        if statement is PAUSE:
            self._let_writers_in()
        return self.connection.execute(*self._catalog.bind(statement)).fetchall()

    def stop(self) -> None:
        """From another thread: nobody wants the answer any more, so end at the next pause."""
        self._is_stopped = True

    def _let_writers_in(self) -> None:
        """Without WAL nobody can commit while this reads; what writes, or is in memory, goes on."""
        if self._is_stopped:
            raise SqlError("Reading was given up half-way, as it was cancelled.")
        mode = self.connection.execute("PRAGMA journal_mode").fetchone()
        if self.owner is None and mode != ("wal",):
            self.connection.execute("COMMIT")
            sleep_s(min((monotonic_s() - self._since_s) * self._rest, LONGEST_REST_S))
            version = self.connection.execute("PRAGMA data_version").fetchone()
            self.connection.execute("BEGIN")
            self._rest = REST_ALONE if version == self._version else _REST_BESIDE_WRITERS
            self._version = version
            self._since_s = monotonic_s()

    def _refuse(self) -> NoReturn:
        self._forks.check()
        raise SqlError(TRANSACTION_ENDED)


class SqliteBackend:
    """An SQLite file, or a database in memory (one connection that all threads share in turn)."""

    dialect: Dialect = "sqlite"

    def __init__(
        self,
        path: str,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        pinned_clock: Callable[[], int] | None = None,
        mode: Mode = "rwc",
    ) -> None:
        self.path = path
        self.mode = mode
        self.pinned_clock = pinned_clock
        self.catalog = Catalog("sqlite", pinned_clock=pinned_clock)
        self._busy_timeout_s = busy_timeout_s
        self._idle: list[sqlite3.Connection] = []
        self._connections: set[sqlite3.Connection] = set()
        self._forks = ForkGuard(self._connections.copy)
        self._closed = False
        self._turn = Turn(busy_timeout_s)
        self._open: dict[int, SqliteTransaction] = {}
        if self.is_memory:
            self._idle.append(self._connect())
        else:
            self._give_back(self._connect())

    @property
    def is_memory(self) -> bool:
        return self.path == _MEMORY

    def is_owned_by(self, owner: int) -> bool:
        """Whether this thread or task has a writing transaction open."""
        return self._turn.owner == owner

    def is_writing(self) -> bool:
        return self.is_owned_by(threading.get_ident())

    def transaction(self, *, write: bool = True) -> _Scope:
        return _Scope(self, write=write)

    def side(self) -> SqliteBackend:
        """A backend for the heartbeat, that the work's transactions don't keep waiting in line."""
        if self.is_memory:
            return self
        return SqliteBackend(
            self.path,
            busy_timeout_s=min(self._busy_timeout_s, SIDE_BUSY_TIMEOUT_S),
            pinned_clock=self.pinned_clock,
            mode=self.mode,
        )

    def shrink(self) -> tuple[int, int]:
        """Give free pages back to the file system; bytes before and after. StoreBusy beside others."""
        self._check_open(write=True)
        owner = threading.get_ident()
        self._turn.refuse(owner)
        try:
            self._turn.take(owner)
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                with translated("shrinking the file, for which nobody else may use it"):
                    return _shrink(connection)
            finally:
                self._give_back(connection)
        finally:
            self._turn.leave(owner)

    def for_threads(self) -> SqliteBackend:
        return self

    def close(self) -> None:
        if self._forks.is_child:
            return
        self._closed = True
        while self._idle:
            self._discard(self._idle.pop())

    def begin(self, *, write: bool, owner: int) -> SqliteTransaction:
        """Open a transaction for ``owner`` (a thread or task), who may have one writing at a time."""
        self._check_open(write=write)
        waits = write or self.is_memory
        if waits:
            self._turn.refuse(owner)
        connection: sqlite3.Connection | None = None
        try:
            if waits:
                self._turn.take(owner)
            connection = self._checkout()
            with translated():
                connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            holder = owner if waits else None
            begun = SqliteTransaction(connection, self.catalog, self._forks, holder)
            if waits:
                self._open[owner] = begun
            return begun
        except BaseException:  # a signal's as well, which may come when all of it is done
            if connection is not None:
                self._undo(connection)
            if waits:
                self._turn.leave(owner)
            raise

    def commit(self, transaction: SqliteTransaction) -> None:
        """Make the transaction durable; on an error, undo it and raise."""
        self._forks.check()
        connection = transaction.connection
        try:
            if not connection.in_transaction:
                raise SqlError(TRANSACTION_ENDED)
            with translated():
                connection.execute("COMMIT")
        finally:
            self.rollback(transaction)

    def rollback(self, transaction: SqliteTransaction) -> None:
        """Undo what is not committed. A connection that can't even do that is thrown away.

        What it has done already it does not do again, should a signal have interrupted it.
        """
        if self._forks.is_child:
            return  # it is the parent's to undo
        if not transaction.is_over:
            self._undo(transaction.connection)
            transaction.is_over = True
        if transaction.owner is not None:
            self._turn.leave(transaction.owner)
            self._open.pop(transaction.owner, None)

    def forsake(self) -> None:
        """Undo what this thread still has open, if a signal kept it from being ended."""
        left = self._open.get(threading.get_ident())
        if left is not None:
            self.rollback(left)

    def _undo(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            if not self.is_memory:
                self._discard(connection)
                return
        if connection not in self._idle:
            self._give_back(connection)

    def _checkout(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:  # asked for afterwards: another thread may take the last one in between
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        with translated(f"opening {self.path}"):
            connection = sqlite3.connect(
                _address(self.path, self.mode),
                timeout=self._busy_timeout_s,
                isolation_level=None,  # we say BEGIN and COMMIT ourselves
                check_same_thread=False,  # a connection serves one transaction at a time
                cached_statements=256,
                uri=self.mode != "rwc",
            )
            try:
                if self.mode != "ro":
                    _configure(connection)
            except BaseException:
                connection.close()
                raise
        self._connections.add(connection)
        return connection

    def _discard(self, connection: sqlite3.Connection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed or (len(self._idle) >= _IDLE_CONNECTIONS and not self.is_memory):
            self._discard(connection)
        else:
            self._idle.append(connection)

    def _check_open(self, *, write: bool) -> None:
        self._forks.check()
        if self._closed:
            raise StoreClosed("The store was closed. Open it again with belaypin.open().")
        if write and self.mode == "ro":
            raise UsageError(READ_ONLY)


class _Scope:
    """A transaction for a ``with`` block.

    A class, not a generator: a signal that comes just when the transaction has begun would find a
    generator between its ``yield`` and the block, and nobody would end it.
    """

    def __init__(self, backend: SqliteBackend, *, write: bool) -> None:
        self._backend = backend
        self._write = write

    def __enter__(self) -> SqliteTransaction:
        owner = threading.get_ident()
        self._transaction = self._backend.begin(write=self._write, owner=owner)
        return self._transaction

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._backend.commit(self._transaction)
            else:
                self._backend.rollback(self._transaction)
        except BaseException:  # if it was a signal's, it came in the middle of that
            self._backend.rollback(self._transaction)
            raise


def has_safe_wal(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite is free of the race that could lose commits in WAL mode.

    Versions 3.7.0 to 3.51.2 have it, except 3.44.6 and 3.50.7 and what follows in their branches.
    """
    if version[:2] in ((3, 44), (3, 50)):
        return version[2] >= (6 if version[1] == 44 else 7)
    return version > (3, 51, 2)


def quoted(name: str) -> str:
    """A table or column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _address(path: str, mode: Mode) -> str:
    """What the driver is told: an URI where the path alone would make a file or write to it."""
    if mode == "rwc":
        return path
    return f"file:{quote_from_bytes(os.fsencode(path))}?mode={mode}"


def _configure(connection: sqlite3.Connection) -> None:
    if has_safe_wal(sqlite3.sqlite_version_info):
        connection.execute("PRAGMA journal_mode = WAL")
    elif connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        _leave_wal(connection)
    else:
        # TRUNCATE syncs the emptied journal, so a commit survives a power cut; DELETE does not.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")


def _shrink(connection: sqlite3.Connection) -> tuple[int, int]:
    before = _size(connection)
    # A file that was made to be vacuumed bit by bit need not be rewritten.
    is_incremental = connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    connection.execute("PRAGMA incremental_vacuum" if is_incremental else "VACUUM").fetchall()
    return before, _size(connection)


def _size(connection: sqlite3.Connection) -> int:
    pages, of_bytes = (connection.execute(f"PRAGMA {p}").fetchone()[0] for p in _SIZE)
    return int(pages * of_bytes)


def _leave_wal(connection: sqlite3.Connection) -> None:
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
    except sqlite3.OperationalError:
        mode = "wal"
    if mode == "wal":
        raise StoreUnavailable(
            f"The file is in WAL mode, in which SQLite {sqlite3.sqlite_version} can lose a commit "
            f"when several connections write. Another connection is open and keeps it so: close "
            f"it, then run again; or use a Python whose SQLite is 3.51.3 or newer."
        )


@contextmanager
def translated(doing: str = "") -> Iterator[None]:
    """Turn the driver's errors into ours, which say what to do next."""
    try:
        yield
    except DRIVER_ERRORS as error:
        raise translate(error, doing) from error


def translate(error: Exception, doing: str = "") -> BelaypinError:
    """The driver's error as ours, which says what to do next."""
    code = (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF
    kind, advice = _ADVICE.get(code, (SqlError, "Fix the statement; nothing of it was kept."))
    where = f" while {doing}" if doing else ""
    return kind(f"SQLite says: {error}{where}. {advice}")


_ADVICE: dict[int, tuple[type[BelaypinError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreBusy,
        "Another process holds a transaction open; try again, or keep transactions shorter.",
    ),
    sqlite3.SQLITE_LOCKED: (StoreBusy, "Another statement is still running; try again."),
    sqlite3.SQLITE_FULL: (
        StoreFull,
        "The disk (or the database's page limit) is full. All that was committed is safe; make "
        "room, then run again.",
    ),
    sqlite3.SQLITE_READONLY: (
        StoreFull,
        "The file or its folder is read-only. Make both writable, then run again.",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreUnavailable,
        "The disk failed or is full. All that was acknowledged is safe; check the disk, run again.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnavailable,
        "Check the path: its folder must exist and be writable.",
    ),
    sqlite3.SQLITE_PERM: (StoreUnavailable, "Check the file's permissions."),
    sqlite3.SQLITE_NOTADB: (
        StoreUnavailable,
        "That file is not an SQLite database; it was not touched. Name another path.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        CorruptRecord,
        "The database file is damaged. Stop writing to it and restore it from a backup.",
    ),
}
