"""Fresh databases, and plain connections to them: same driver, same durability, no checkpoint."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

import belaypin
from tests.services import fresh_database

__all__ = ["Database", "Plain", "Postgres", "Server", "Sqlite"]

TABLE = (
    "CREATE TABLE posts"
    " (id TEXT, author_id BIGINT, created_at TEXT, title TEXT, body TEXT, score BIGINT)"
)


class Plain(Protocol):
    """A connection without belaypin."""

    def page(self) -> AbstractContextManager[Any]:
        """One durable transaction; yields what has execute, executemany and perhaps copy."""

    def close(self) -> None: ...


class Database(Protocol):
    """One empty database, with the table ``posts`` in it."""

    @property
    def url(self) -> str: ...

    @property
    def insert(self) -> str: ...

    def plain(self) -> Plain: ...

    def vacuum(self) -> None:
        """What a server does by itself every now and then: find the space of deleted rows."""

    def size_bytes(self) -> int:
        """What it takes on the disk, indexes and free pages included."""


class Server(Protocol):
    """Makes empty databases, each gone at the end of its block."""

    name: str
    bulk: str
    """The writer (see loops) that loads many rows fastest."""

    def fresh(self) -> AbstractContextManager[Database]: ...


class Sqlite:
    """SQLite files in a folder, which should lie on a disk like that used in earnest."""

    name = "SQLite"
    bulk = "executemany"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        # The baseline is to be exactly as durable as what belaypin sets up.
        with belaypin.open(f"sqlite:///{folder}/settings.db") as store:
            self.settings = {name: _pragma(store, name) for name in ("journal_mode", "synchronous")}

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        self._number += 1
        path = self._folder / f"{self._number}.db"
        try:
            yield _SqliteFile(path, self.settings)
        finally:
            for file in self._folder.glob(f"{path.name}*"):
                file.unlink()


class Postgres:
    """A PostgreSQL server with fsync on."""

    name = "PostgreSQL"
    bulk = "copy"

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        with fresh_database(self._server_url) as url:
            yield _PostgresDatabase(url)


def _pragma(store: belaypin.Store, name: str) -> object:
    (row,) = store.execute(f"PRAGMA {name}").rows
    return row[0]


class _SqliteFile:
    insert = "INSERT INTO posts VALUES (?, ?, ?, ?, ?, ?)"

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        self._settings = settings
        plain = self.plain()
        with plain.page() as connection:
            connection.execute(TABLE)
        plain.close()

    def plain(self) -> Plain:
        return _SqlitePlain(self._path, self._settings)

    def vacuum(self) -> None:
        """SQLite uses the space of deleted rows again at once."""

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._path.parent.glob(f"{self._path.name}*"))


class _SqlitePlain:
    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma, value in settings.items():
            self._connection.execute(f"PRAGMA {pragma} = {value}")
        self.close = self._connection.close

    @contextmanager
    def page(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        yield self._connection
        self._connection.execute("COMMIT")


class _PostgresDatabase:
    insert = "INSERT INTO posts VALUES (%s, %s, %s, %s, %s, %s)"

    def __init__(self, url: str) -> None:
        self.url = url
        with psycopg.connect(url) as connection:
            connection.execute(TABLE)

    def plain(self) -> Plain:
        return _PostgresPlain(self.url)

    def vacuum(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM")

    def size_bytes(self) -> int:
        with psycopg.connect(self.url) as connection:
            sized = connection.execute(
                "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
                " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            ).fetchone()
        assert sized is not None
        return int(sized[0])


class _PostgresPlain:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self.close = self._connection.close

    @contextmanager
    def page(self) -> Iterator[psycopg.Cursor[Any]]:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            yield cursor
