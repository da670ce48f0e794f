"""Databases that are used again: what a test has left in one is taken out in a few milliseconds.

To make one from a template and to drop it takes 40 ms, and as much of the kernel's time again. So a
database is wiped instead, as long as it is known to be as the template is: one in which a test has
altered a table of the template, or a setting, is dropped, and so is one that many tests have used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from tests.services.postgres import create_database, database_url, drop_database

__all__ = ["OURS", "Databases"]

OURS = "belaypin tests"
"""What our own connection to a database that is lent calls itself."""

# So many tests use one: rows that were deleted are still in its files.
_USES = 25
_GONE_S = 10.0

# Of each object of the catalogs the last transaction that changed it.
_CATALOGS = """
SELECT md5(string_agg(line, ',' ORDER BY line)) FROM (
    SELECT 'class', oid::text, xmin::text FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT 'column', concat(attrelid, ' ', attnum), xmin::text
        FROM pg_attribute WHERE attrelid >= 16384
    UNION ALL SELECT 'constraint', oid::text, xmin::text FROM pg_constraint WHERE oid >= 16384
    UNION ALL SELECT 'trigger', oid::text, xmin::text FROM pg_trigger
    UNION ALL SELECT 'rule', oid::text, xmin::text FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT 'function', oid::text, xmin::text FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'schema', oid::text, xmin::text FROM pg_namespace
    UNION ALL SELECT 'extension', oid::text, xmin::text FROM pg_extension
    UNION ALL SELECT 'settings', concat(setdatabase, ' ', setrole), xmin::text
        FROM pg_db_role_setting
    UNION ALL SELECT 'database', oid::text, xmin::text
        FROM pg_database WHERE datname = current_database()
) AS objects (kind, object, changed), LATERAL (SELECT concat_ws(' ', kind, object, changed)) AS t (line)
"""
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


class _Template(NamedTuple):
    """What its copies are to be again; rows are known of the tables that are not empty."""

    tables: list[str]
    sequences: list[str]
    rows: dict[str, list[Any]]


class _Database(NamedTuple):
    name: str
    connection: psycopg.Connection
    """Ours, which stays: a new one would have to read the catalogs again."""
    catalogs: str
    uses: int


class Databases:
    """Copies of a template, each lent to one test at a time."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._name = template
        self._idle: list[_Database] = []
        with psycopg.connect(database_url(server_url, template)) as connection:
            self._template = _described(connection)

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of a database that is as the template, for the time of the block."""
        database = self._idle.pop() if self._idle else self._make()
        try:
            yield database_url(self._server_url, database.name)
        finally:
            self._take_back(database)

    def close(self) -> None:
        """Drop them all."""
        while self._idle:
            self._drop(self._idle.pop())

    def _make(self) -> _Database:
        name = create_database(self._server_url, self._name)
        url = database_url(self._server_url, name)
        connection = psycopg.connect(url, autocommit=True, application_name=OURS)
        return _Database(name, connection, _one(connection, _CATALOGS), uses=0)

    def _drop(self, database: _Database) -> None:
        database.connection.close()
        drop_database(self._server_url, database.name)

    def _take_back(self, database: _Database) -> None:
        is_as_before = False
        if database.uses + 1 < _USES:
            with suppress(psycopg.Error):
                is_as_before = self._wipe(database.connection, database.catalogs)
        if is_as_before:
            self._idle.append(database._replace(uses=database.uses + 1))
        else:
            self._drop(database)

    def _wipe(self, connection: psycopg.Connection, catalogs: str) -> bool:
        """Whether it could be made as the template is."""
        template = self._template
        if not _end_others(connection):
            return False
        if strange := [
            name for name in _column(connection, _TABLES) if name not in template.tables
        ]:
            names = sql.SQL(", ").join(map(sql.Identifier, strange))
            connection.execute(sql.SQL("DROP TABLE {}").format(names))
        if _one(connection, _CATALOGS) != catalogs:
            return False
        empty = [name for name in template.tables if name not in template.rows]
        delete, restart = sql.SQL("DELETE FROM {}"), sql.SQL("SELECT setval({}, 1, false)")
        statements = [delete.format(sql.Identifier(name)) for name in empty]
        statements += [restart.format(sql.Literal(f'"{name}"')) for name in template.sequences]
        connection.execute(sql.SQL("; ").join(statements))
        return _rows(connection, [*template.rows]) == template.rows


def _described(connection: psycopg.Connection) -> _Template:
    tables = _column(connection, _TABLES)
    rows = {name: found for name, found in _rows(connection, tables).items() if found}
    return _Template(tables, _column(connection, _SEQUENCES), rows)


def _rows(connection: psycopg.Connection, tables: list[str]) -> dict[str, list[Any]]:
    every = sql.SQL("SELECT * FROM {}")
    return {name: sorted(connection.execute(every.format(sql.Identifier(name)))) for name in tables}


def _end_others(connection: psycopg.Connection) -> bool:
    """End what is still connected; whether all of it is gone."""
    patience_s = time.monotonic() + _GONE_S
    while _one(connection, f"SELECT count(pg_terminate_backend(pid)) {_OTHERS}"):
        if time.monotonic() > patience_s:
            return False
        time.sleep(0.001)
    return True


def _one(connection: psycopg.Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _column(connection: psycopg.Connection, query: str) -> list[str]:
    return [row[0] for row in connection.execute(query)]
