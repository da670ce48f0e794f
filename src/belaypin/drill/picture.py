"""A picture of a database after a run, taken from the outside: plain drivers, nothing of belaypin."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple

from belaypin.drill.errors import CannotDrill
from belaypin.urls import parse_url

__all__ = ["Outside", "Picture", "Table", "digest", "outside", "take"]

Row = tuple[Any, ...]
Stream = tuple[str, str]
"""Entity and stream."""

_FETCH_ROWS = 10_000

_SQLITE_TABLES = """
SELECT m.name, c.name, 0 FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY m.name, c.cid
"""
_POSTGRES_TABLES = """
SELECT CASE WHEN c.table_schema = current_schema() THEN c.table_name
            ELSE c.table_schema || '.' || c.table_name END,
       c.column_name, c.is_identity = 'YES' OR COALESCE(c.column_default, '') LIKE 'nextval(%'
FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE t.table_type = 'BASE TABLE' AND c.table_schema NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, c.ordinal_position
"""

_COUNTS = """
SELECT c.entity, c.stream, c.items, c.changed FROM belaypin_checkpoint AS c
WHERE c.pipeline = {mark} AND c.stream <> ''
"""
_COVERAGE = """
SELECT c.entity, c.stream, v.start_us, v.end_us
FROM belaypin_checkpoint AS c
JOIN belaypin_coverage AS v ON v.key_id = c.key_id AND v.generation = c.generation
WHERE c.pipeline = {mark} ORDER BY 1, 2, 3
"""
_PUT_ASIDE = """
SELECT c.entity, c.stream, f.item_id, f.status
FROM belaypin_checkpoint AS c
JOIN belaypin_failure AS f ON f.key_id = c.key_id AND f.generation = c.generation
WHERE c.pipeline = {mark}
"""


class Table(NamedTuple):
    """A table of the user's: the columns that are compared, and the rows as digests."""

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    rows: Counter[bytes]


class Picture(NamedTuple):
    """What there is after a run."""

    tables: dict[str, Table]
    counts: dict[Stream, tuple[int, int]]
    coverage: dict[Stream, list[tuple[int, int]]]
    put_aside: Counter[Row]


class Outside:
    """A database, read through its plain driver."""

    def __init__(self, connection: Any, mark: str) -> None:
        self._connection = connection
        self._mark = mark

    def query(self, sql: str, *params: Any) -> Iterator[Row]:
        """Rows as the driver has them, a few at a time: tables may be large."""
        if self._mark == "?":
            yield from self._connection.execute(sql, params)
            return
        with self._connection.transaction(), self._connection.cursor(name="drill") as cursor:
            cursor.itersize = _FETCH_ROWS
            cursor.execute(sql, params or None)
            yield from cursor

    def tables(self) -> dict[str, list[tuple[str, bool]]]:
        """The user's tables, each with its columns and whether a sequence fills them."""
        found: dict[str, list[tuple[str, bool]]] = {}
        for table, column, is_drawn in self.query(
            _SQLITE_TABLES if self._mark == "?" else _POSTGRES_TABLES
        ):
            if not table.rpartition(".")[2].startswith("belaypin_"):
                found.setdefault(table, []).append((column, bool(is_drawn)))
        return found

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """These columns of all rows."""
        names = ", ".join(map(_quoted, columns)) or "1"
        where = ".".join(map(_quoted, table.split(".", 1))) if self._mark != "?" else _quoted(table)
        return self.query(f"SELECT {names} FROM {where}")  # noqa: S608  # quoted names of the catalog's

    def named(self, sql: str, pipeline: str) -> Iterator[Row]:
        """One of our own tables, of one pipeline."""
        return self.query(sql.format(mark=self._mark), pipeline)


@contextmanager
def outside(url: str) -> Iterator[Outside]:
    """Look into a database. Raises CannotDrill if it can't be read."""
    target = parse_url(url)
    if target.dialect == "sqlite":
        try:
            with closing(sqlite3.connect(target.address, timeout=60)) as connection:
                yield Outside(connection, "?")
        except sqlite3.Error as error:
            raise CannotDrill(f"A copy can't be read: {error}") from error
        return
    import psycopg

    try:
        with closing(psycopg.connect(url, autocommit=True)) as connected:
            yield Outside(connected, "%s")
    except psycopg.Error as error:
        raise CannotDrill(f"A copy can't be read: {error}") from error


def take(url: str, pipeline: str, ignore: Collection[str]) -> Picture:
    """Take the picture; ``ignore`` names columns ("posts.fetched_at") or tables ("posts")."""
    with outside(url) as database:
        tables = {}
        for name, columns in database.tables().items():
            if name in ignore:
                continue
            left_out = tuple(c for c, is_drawn in columns if is_drawn or f"{name}.{c}" in ignore)
            compared = tuple(c for c, _ in columns if c not in left_out)
            rows = Counter(map(digest, database.rows(name, compared)))
            tables[name] = Table(compared, left_out, rows)
        coverage: dict[Stream, list[tuple[int, int]]] = {}
        for entity, stream, start_us, end_us in database.named(_COVERAGE, pipeline):
            coverage.setdefault((entity, stream), []).append((start_us, end_us))
        counts = {
            (entity, stream): (items, changed)
            for entity, stream, items, changed in database.named(_COUNTS, pipeline)
        }
        return Picture(tables, counts, coverage, Counter(database.named(_PUT_ASIDE, pipeline)))


def digest(row: Row) -> bytes:
    """What stands for a row: equal rows have equal ones."""
    plain = tuple(bytes(v) if isinstance(v, memoryview) else v for v in row)
    return blake2b(repr(plain).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
