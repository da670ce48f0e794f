"""Store URLs: which database, and where."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from belaypin.catalog import Dialect
from belaypin.errors import UsageError

__all__ = ["Target", "parse_url"]

_EXAMPLES = (
    "sqlite:///app.db (a file here), sqlite:////var/lib/app.db, sqlite:///:memory:, "
    "postgresql:///app or postgresql://user@host/app"
)


class Target(NamedTuple):
    """A database and its address: a path for SQLite, a connection string for PostgreSQL."""

    dialect: Dialect
    address: str


def parse_url(url: object) -> Target:
    """Read a store URL. Raises UsageError that shows how one looks.

    >>> parse_url("sqlite:///app.db")
    Target(dialect='sqlite', address='app.db')
    """
    if not isinstance(url, str) or "\0" in url:
        raise UsageError(f"A store URL is text, such as {_EXAMPLES}; got {url!r}.")
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("postgresql", "postgres"):
        return Target("postgres", url)
    if scheme != "sqlite" or not url.lower().startswith("sqlite:///"):
        raise UsageError(f"{url!r} is no store URL. Write {_EXAMPLES}.")
    escaped = url[len("sqlite:///") :]
    if not escaped or "?" in escaped:
        raise UsageError(
            f"{url!r} names no file. Write {_EXAMPLES}; a question mark in a name is %3F."
        )
    # By way of bytes: a file name need not be UTF-8.
    return Target("sqlite", os.fsdecode(unquote_to_bytes(escaped)))
