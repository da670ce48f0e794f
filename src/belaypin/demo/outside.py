"""Read the tables from the outside: with the plain driver, and nothing of belaypin."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .errors import CannotRun
from .tables import Table

__all__ = ["check_url", "is_sqlite", "rows", "sqlite_path", "sqlite_url"]

_SQLITE = "sqlite:///"
_FETCH_ROWS = 10_000


def is_sqlite(url: str) -> bool:
    """Return whether the URL names an SQLite file."""
    return url.startswith("sqlite:")


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file.

    >>> sqlite_url(Path("/data/app.db"))
    'sqlite:////data/app.db'
    """
    return _SQLITE + quote(os.fsencode(path))


def sqlite_path(url: str) -> Path:
    """Return the file of a URL.

    >>> sqlite_path("sqlite:///app.db").name
    'app.db'
    """
    path = os.fsdecode(unquote_to_bytes(url.removeprefix(_SQLITE)))
    if not url.startswith(_SQLITE) or path in ("", ":memory:"):
        raise CannotRun(f"--store {url!r} is no file: write sqlite:///demo.db, or postgresql:///db")
    return Path(path)


def check_url(url: str) -> None:
    """Refuse what can be no store of the demo, before any work is done.

    Raises:
        CannotRun: neither an SQLite file nor a PostgreSQL database.
    """
    if is_sqlite(url):
        sqlite_path(url)
    elif not url.startswith(("postgresql://", "postgres://")):
        raise CannotRun(f"--store {url!r}: write sqlite:///demo.db, or postgresql:///db")


def rows(url: str, table: Table, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield all rows of a table; none when there is no such table, or no such file.

    Raises:
        CannotRun: the database cannot be reached or read.
    """
    select = f"SELECT {', '.join(columns)} FROM {table.name}"  # noqa: S608  # our own names
    return (
        _sqlite_rows(url, table, select) if is_sqlite(url) else _postgres_rows(url, table, select)
    )


def _sqlite_rows(url: str, table: Table, select: str) -> Iterator[tuple[Any, ...]]:
    path = sqlite_path(url)
    if not path.exists():
        return
    try:
        # Not read only: a killed writer may have left a journal that has to be rolled back.
        with closing(sqlite3.connect(path)) as db:
            known = db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table.name,))
            if known.fetchone():
                yield from db.execute(select)
    except sqlite3.Error as error:
        raise CannotRun(f"cannot read {path}: {error}") from error


def _postgres_rows(url: str, table: Table, select: str) -> Iterator[tuple[Any, ...]]:
    try:
        import psycopg
    except ImportError as error:
        raise CannotRun("PostgreSQL needs its driver: pip install 'belaypin[postgres]'") from error
    try:
        with psycopg.connect(url) as connection:
            known = connection.execute("SELECT to_regclass(%s)", (table.name,)).fetchone()
            if known == (None,):
                return
            with connection.cursor(name="demo") as cursor:  # on the server: tables may be large
                cursor.itersize = _FETCH_ROWS
                cursor.execute(select)
                yield from cursor
    except psycopg.Error as error:
        raise CannotRun(f"cannot read the store: {error}") from error
