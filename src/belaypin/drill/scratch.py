"""Scratch databases: a copy of the store's database, and copies of that, one for each run.

The real database is only read, by the means of the database itself: SQLite's backup, PostgreSQL's
templates. Whatever a drill writes, it writes to copies, which are gone when it ends.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from belaypin.clock import unique_id
from belaypin.drill.errors import CannotDrill
from belaypin.urls import parse_url

__all__ = ["Scratch", "open_scratch"]

_PREFIX = "belaypin_drill_"


class Scratch(ABC):
    """A copy of the store's database (or an empty one), to be copied again for each run."""

    base: str
    """The URL of the copy that all others are made of."""

    @abstractmethod
    def copy(self) -> str:
        """Make a copy of ``base``, on which nobody is connected; returns its URL."""

    @abstractmethod
    def drop(self, url: str) -> None:
        """Drop a copy."""


@contextmanager
def open_scratch(url: str, *, is_empty: bool) -> Iterator[Scratch]:
    """Copy the database at ``url``, or make an empty one of its kind; drop all at the end."""
    target = parse_url(url)
    if target.dialect == "sqlite":
        with tempfile.TemporaryDirectory(prefix="belaypin-drill-") as folder:
            yield _SqliteScratch(Path(folder), None if is_empty else target.address)
        return
    scratch = _PostgresScratch(url)
    try:
        scratch.make(is_empty=is_empty)
        yield scratch
    finally:
        scratch.close()


class _SqliteScratch(Scratch):
    def __init__(self, folder: Path, source: str | None) -> None:
        self._folder = folder
        self._numbers = count(1)
        self._base = folder / "base.db"
        self.base = _sqlite_url(self._base)
        if source is not None:
            self._back_up(source)

    def copy(self) -> str:
        path = self._folder / f"copy-{next(self._numbers)}.db"
        shutil.copyfile(self._base, path)
        return _sqlite_url(path)

    def drop(self, url: str) -> None:
        path = Path(parse_url(url).address)
        for each in path.parent.glob(f"{path.name}*"):
            each.unlink()

    def _back_up(self, source: str) -> None:
        if source == ":memory:" or not Path(source).exists():
            raise CannotDrill(
                f"There is no store at {source} to copy. Name another, or drill with an empty one."
            )
        try:
            # Not read only: a worker that died may have left a journal that has to be rolled back.
            with (
                closing(sqlite3.connect(source, timeout=60)) as real,
                closing(sqlite3.connect(self._base)) as copy,
            ):
                real.backup(copy)
        except sqlite3.Error as error:
            raise CannotDrill(f"{source} can't be copied: {error}.") from error


def _sqlite_url(path: Path) -> str:
    return "sqlite:///" + quote(os.fsencode(path))


class _PostgresScratch(Scratch):
    def __init__(self, url: str) -> None:
        self._url = url
        self._name = f"{_PREFIX}{unique_id()[:12]}"
        self._numbers = count(1)
        self._made: list[str] = []
        self.base = _with_database(url, self._name)

    def make(self, *, is_empty: bool) -> None:
        """Make the base: an empty database, or a copy of the store's."""
        if is_empty:
            self._create(self._name, "template1")
            return
        import psycopg

        with self._connect() as connection:
            row = connection.execute("SELECT current_database()").fetchone()
        try:
            self._create(self._name, row[0])
        except CannotDrill as error:
            if not isinstance(error.__cause__, psycopg.errors.ObjectInUse):
                raise
            self._dump(error)

    def copy(self) -> str:
        name = f"{self._name}_{next(self._numbers)}"
        self._create(name, self._name)
        return _with_database(self._url, name)

    def drop(self, url: str) -> None:
        name = urlsplit(url).path.removeprefix("/")
        with self._connect() as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")
        self._made.remove(name)

    def close(self) -> None:
        """Drop what is left."""
        for name in reversed(self._made.copy()):
            self.drop(_with_database(self._url, name))

    def _create(self, name: str, template: str) -> None:
        import psycopg

        statement = f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}"
        try:
            with self._connect() as admin:
                admin.execute(statement)
        except psycopg.Error as error:
            raise CannotDrill(
                f"No copy of the database can be made: {error}. The role of the store's URL needs "
                f"the right to create databases (ALTER ROLE ... CREATEDB), or use one that has it."
            ) from error
        self._made.append(name)

    def _dump(self, busy: CannotDrill) -> None:
        """Others are connected to the database, which then is no template: go through its dump."""
        if shutil.which("pg_dump") is None or shutil.which("psql") is None:
            raise CannotDrill(
                "Others are connected to the database, so PostgreSQL makes no copy of it, and pg_dump "
                "and psql, which could, are not installed here. Install them, or stop the workers."
            ) from busy
        self._create(self._name, "template0")
        dump = ["pg_dump", "--no-owner", "--no-privileges", f"--dbname={self._url}"]
        restore = ["psql", "-q", "-v", "ON_ERROR_STOP=1", f"--dbname={self.base}"]
        with tempfile.TemporaryFile() as said:
            with subprocess.Popen(dump, stdout=subprocess.PIPE, stderr=said) as dumping:
                done = subprocess.run(
                    restore, stdin=dumping.stdout, stdout=said, stderr=said, check=False
                )
            if dumping.returncode or done.returncode:
                said.seek(0)
                text = said.read().decode("utf-8", "replace").strip()[-1000:]
                raise CannotDrill(f"The database can't be copied by pg_dump: {text}") from busy

    def _connect(self) -> Any:
        try:
            import psycopg
        except ImportError as error:
            raise CannotDrill(
                "PostgreSQL needs its driver: pip install 'belaypin[postgres]'"
            ) from error
        try:
            return closing(psycopg.connect(self._url, autocommit=True))
        except psycopg.Error as error:
            raise CannotDrill(f"The store can't be reached: {error}") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    options = [(key, value) for key, value in parse_qsl(parts.query) if key != "dbname"]
    rebuilt = parts._replace(path=f"/{quote(name)}", query=urlencode(options)).geturl()
    # urlunsplit leaves out the slashes of an empty host, which a URL of PostgreSQL needs.
    return rebuilt if "://" in rebuilt else rebuilt.replace(":", "://", 1)
