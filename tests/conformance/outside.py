"""How the oracle looks into a database: by plain drivers, never through belaypin."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

__all__ = ["Outside", "PostgresOutside", "SqliteOutside", "connect_sqlite", "sort_rows"]

Row = tuple[Any, ...]


class Outside(Protocol):
    """A connection of the oracle's own, which commits each statement."""

    def query(self, text: str, params: Sequence[Any] = ()) -> list[Row]: ...
    def dump(self) -> dict[str, list[Row]]: ...
    def close(self) -> None: ...


class SqliteOutside:
    """Plain sqlite3 on the file or, for a database in memory, on the one connection there is."""

    def __init__(self, connection: sqlite3.Connection, *, is_ours: bool = True) -> None:
        self._connection = connection
        self._is_ours = is_ours

    def query(self, text: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(text, params).fetchall()

    def dump(self) -> dict[str, list[Row]]:
        names = self.query("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name: self.query(f'SELECT * FROM "{name}"') for (name,) in names}

    def close(self) -> None:
        if self._is_ours:
            self._connection.close()


class PostgresOutside:
    """Plain psycopg."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def query(self, text: str, params: Sequence[Any] = ()) -> list[Row]:
        cursor: Any = self._connection.execute(text.replace("?", "%s"), params or None)
        return cursor.fetchall() if cursor.description else []

    def dump(self) -> dict[str, list[Row]]:
        names = self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        with self._connection.pipeline():  # all are asked for at once
            cursors = {
                name: self._connection.execute(
                    sql.SQL("SELECT * FROM {}").format(sql.Identifier(name))
                )
                for (name,) in names
            }
            return {name: cursor.fetchall() for name, cursor in cursors.items()}

    def close(self) -> None:
        self._connection.close()


def connect_sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)


def sort_rows(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)
