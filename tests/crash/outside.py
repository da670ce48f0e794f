"""What a store holds, seen from the outside: plain sqlite3 or psycopg, and none of belaypin."""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

import psycopg

__all__ = ["Outside", "own_table"]

Row = tuple[Any, ...]


class Outside:
    """A plain connection to the database behind a store's URL; every statement is on its own."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite:")
        self._connection: Any
        if self.is_sqlite:
            path = unquote(url.removeprefix("sqlite:///"))
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=60, check_same_thread=False
            )
        else:
            self._connection = psycopg.connect(url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def run(self, sql: str, *params: Any) -> list[Row]:
        """Run a statement written with ``?``; return its rows."""
        if not self.is_sqlite:
            sql = sql.replace("?", "%s")
        cursor = self._connection.execute(sql, params)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def one(self, sql: str, *params: Any) -> Any:
        """The only value that a query returns."""
        return self.run(sql, *params)[0][0]

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        if self.is_sqlite:
            return bool(self.run("SELECT 1 FROM sqlite_master WHERE name = ?", name))
        return bool(self.run("SELECT 1 WHERE to_regclass(?) IS NOT NULL", name))


def own_table(name: str, columns: str, *, is_sqlite: bool) -> str:
    """CREATE TABLE with ``columns`` and a number ``n`` that tells the order of insertion.

    Nothing else is unique, so that what is committed twice is there twice.
    """
    number = "INTEGER PRIMARY KEY AUTOINCREMENT" if is_sqlite else "BIGSERIAL"
    return f"CREATE TABLE IF NOT EXISTS {name} (n {number}, {columns})"
