"""Connections that are not ours: which library made them, and what their errors mean."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from belaypin.catalog import Dialect
from belaypin.errors import BelaypinError, SqlError, UsageError

__all__ = ["Colour", "family", "translate_foreign"]

Colour = Literal["sync", "async"]

_SYNC = {
    ("django", "BaseDatabaseWrapper"): "django",
    ("django", "ConnectionProxy"): "django",
    ("sqlite3", "Connection"): "sqlite3",
    ("psycopg", "Connection"): "psycopg",
    ("sqlalchemy", "Connection"): "sqlalchemy",
    ("sqlalchemy", "Session"): "sqlalchemy",
    ("sqlalchemy", "scoped_session"): "sqlalchemy",
}
_ASYNC = {
    ("asyncpg", "Connection"): "asyncpg",
    ("asyncpg", "PoolConnectionProxy"): "asyncpg",
    ("aiosqlite", "Connection"): "aiosqlite",
    ("psycopg", "AsyncConnection"): "psycopg",
    ("sqlalchemy", "AsyncConnection"): "sqlalchemy",
    ("sqlalchemy", "AsyncSession"): "sqlalchemy",
}


def family(connection: Any, colour: Colour) -> str:
    """The library of a connection or session; subclasses count as what they derive from.

    Raises UsageError if it is none that can be joined, or of the other colour.
    """
    wanted, other = (_ASYNC, _SYNC) if colour == "async" else (_SYNC, _ASYNC)
    names = [(cls.__module__.partition(".")[0], cls.__name__) for cls in type(connection).__mro__]
    for name in names:
        if name in wanted:
            return wanted[name]
    if any(name in other for name in names):
        opposite = "open" if colour == "async" else "aopen"
        raise UsageError(
            f"This store is {colour} and the connection is not. Open the store with "
            f"belaypin.{opposite}() instead, or join a {colour} connection."
        )
    known = ", ".join(sorted({f"{library} {cls}" for library, cls in wanted}))
    raise UsageError(
        f"joined() takes an open connection or session ({known}), not {type(connection).__name__}."
    )


def translate_foreign(error: Exception, dialect: Dialect) -> BelaypinError:
    """What a driver (perhaps behind SQLAlchemy or Django) says, in our words."""
    wrapped = error.__cause__ if type(error).__module__ == "django.db.utils" else None
    origin: Any = getattr(error, "orig", None) or wrapped or error
    if dialect == "sqlite" and isinstance(origin, sqlite3.Error | OverflowError | UnicodeError):
        from belaypin.backends import sqlite

        return sqlite.translate(origin)
    if dialect == "postgres" and hasattr(origin, "sqlstate"):
        from belaypin.backends import postgres

        return postgres.translate(origin)
    return SqlError(f"The database says: {origin}. Fix the statement; your savepoint was undone.")
