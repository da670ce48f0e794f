"""How the oracle looks into a database: by plain drivers, never through belaypin."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import psycopg

__all__ = ["Outside", "PostgresOutside", "SqliteOutside", "connect_sqlite", "sort_rows"]

Row = tuple[Any, ...]


class Outside(Protocol):
    """A connection of the oracle's own, which commits each statement."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]: ...
    def tables(self) -> list[str]: ...
    def close(self) -> None: ...


class SqliteOutside:
    """Plain sqlite3 on the file or, for a database in memory, on the one connection there is."""

    def __init__(self, connection: sqlite3.Connection, *, is_ours: bool = True) -> None:
        self._connection = connection
        self._is_ours = is_ours

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(sql, params).fetchall()

    def tables(self) -> list[str]:
        return [row[0] for row in self.query("SELECT name FROM sqlite_master WHERE type = 'table'")]

    def close(self) -> None:
        if self._is_ours:
            self._connection.close()


class PostgresOutside:
    """Plain psycopg."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        cursor = self._connection.execute(sql.replace("?", "%s"), params or None)
        return cursor.fetchall() if cursor.description else []

    def tables(self) -> list[str]:
        return [
            r[0] for r in self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]

    def close(self) -> None:
        self._connection.close()


def connect_sqlite(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)


def sort_rows(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=repr)
