"""The catalog: finds the SQL text of a named statement and binds its parameters.

Statements stand in ``sql/queries/*.sql`` once for all databases (the few that must differ, in
``sql/<database>/queries.sql``), each under ``-- name: area.verb``.
Parameters are written ``:name``; ``{now_us}`` is the database's clock in microseconds since 1970
and ``{for_update}`` locks the row until the transaction ends, in the words of each database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple

from belaypin.program import SqlValue, Statement

__all__ = ["Catalog", "Dialect", "Migration", "ParamStyle", "migrations"]

Dialect = Literal["sqlite", "postgres"]
ParamStyle = Literal["named", "pyformat", "qmark", "numeric_dollar"]

_SQL = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: (\S+)$", re.MULTILINE)
_END = re.compile(r";\n(?=\S|\n|\Z)")  # of a statement; what is indented belongs to a trigger
_COMMENT = re.compile(r"--[^\n]*")
_PARAMETER = re.compile(r"(?<!:):([a-z_]+)")
_NUMBERED = re.compile(r"\$(\d+)")

_MACROS: dict[Dialect, dict[str, str]] = {
    "sqlite": {
        # Milliseconds: SQLite's finest before 3.42. One writer at a time needs no row locks.
        "{now_us}": "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000"
        " + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)",
        "{for_update}": "",
        "{skip_locked}": "",
        "{idle_limit}": "NULL",
        "{wait_limit}": "NULL",
        # Numbers that come as a JSON list: one parameter, however many they are.
        "{ids}": "(SELECT value FROM json_each(:ids))",
    },
    "postgres": {
        # clock_timestamp(), not now(): a transaction may have waited long for a row.
        "{now_us}": "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
        "{for_update}": "FOR NO KEY UPDATE",
        # Behind {for_update}: rows that others are working on are not waited for.
        "{skip_locked}": "SKIP LOCKED",
        # A holder that stands still inside its transaction would keep the row from its successor
        # for ever: the server ends its session after the lease's lifetime, at least a second.
        "{idle_limit}": "set_config('idle_in_transaction_session_timeout',"
        " LEAST(GREATEST(ttl_us / 1000, 1000), 2147483647)::text, true)",
        # Who asks for a lease waits so long for its row, which a transaction of the holder's may
        # have locked, and is then told that it is held.
        "{wait_limit}": "set_config('lock_timeout', (:wait_ms)::text, true)",
        "{ids}": "(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))::bigint)",
    },
}


class Migration(NamedTuple):
    """One numbered step of a database's schema; the catalog has its statements by their names."""

    version: int
    name: str
    checksum: str
    statements: tuple[str, ...]


class Catalog:
    """The statements of one database, in the parameter style of one driver.

    ``pinned_clock`` replaces the database's clock in every statement, for tests.
    """

    def __init__(
        self,
        dialect: Dialect,
        style: ParamStyle = "named",
        *,
        pinned_clock: Callable[[], int] | None = None,
    ) -> None:
        self.dialect = dialect
        self.style = style
        self.pinned_clock = pinned_clock
        self._texts: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._typed_texts: dict[tuple[str, tuple[str, ...]], str] = {}

    def bind(self, statement: Statement) -> tuple[str, Any]:
        """The SQL text of ``statement`` and its parameters, as the driver wants them."""
        text = self._texts.get(statement.name)
        if text is None:
            text = self._texts[statement.name] = self._render(statement.name)
        params: Mapping[str, SqlValue] = statement.params
        if self.pinned_clock is not None:
            params = {**params, "clock_us": self.pinned_clock()}
        if self.style in ("named", "pyformat"):
            return text[0], params
        values = tuple(params[name] for name in text[1])
        if self.style == "numeric_dollar":
            return self._typed(text[0], tuple(map(_type_of, values))), values
        return text[0], values

    def _typed(self, sql: str, types: tuple[str, ...]) -> str:
        """Numbers and bytes say what they are, as psycopg says it for us; asyncpg asks the server.

        Which would take a parameter that stands alone in a SELECT for text.
        """
        if (sql, types) not in self._typed_texts:
            self._typed_texts[sql, types] = _NUMBERED.sub(
                lambda m: m[0] + types[int(m[1]) - 1], sql
            )
        return self._typed_texts[sql, types]

    def bind_many(self, statement: Statement) -> tuple[str, list[Any]]:
        """The SQL text of a statement that runs many times, and the parameters of each."""
        sql, _ = self.bind(Statement(statement.name, statement.many[0]))
        each = (Statement(statement.name, params) for params in statement.many)
        return sql, [self.bind(one)[1] for one in each]

    def _render(self, name: str) -> tuple[str, tuple[str, ...]]:
        sql = _texts(self.dialect)[name]
        for macro, words in _MACROS[self.dialect].items():
            pinned = macro == "{now_us}" and self.pinned_clock is not None
            sql = sql.replace(macro, ":clock_us" if pinned else words)
        if self.style == "named":
            return sql, ()
        if self.style == "pyformat":
            return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")), ()
        if self.style == "qmark":
            return _PARAMETER.sub("?", sql), tuple(_PARAMETER.findall(sql))
        names = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
        return _PARAMETER.sub(lambda m: f"${names.index(m[1]) + 1}", sql), names


def _type_of(value: SqlValue) -> str:
    if isinstance(value, int):
        return "::integer" if -(2**31) <= value < 2**31 else "::bigint"
    return {float: "::double precision", bytes: "::bytea"}.get(type(value), "")


@cache
def migrations(dialect: Dialect) -> tuple[Migration, ...]:
    """The migrations of a database, in order."""
    return tuple(step for step, _ in _migration_files(dialect))


def _migration_files(dialect: Dialect) -> Iterator[tuple[Migration, dict[str, str]]]:
    for path in sorted((_SQL / dialect / "migrations").glob("*.sql")):
        number, _, name = path.stem.partition("_")
        text = path.read_text(encoding="utf-8")
        parts = filter(None, map(str.strip, _END.split(_COMMENT.sub("", text))))
        statements = {f"migration.{number}.{i}": part for i, part in enumerate(parts, 1)}
        checksum = blake2b(text.encode(), digest_size=16).hexdigest()
        yield Migration(int(number), name, checksum, tuple(statements)), statements


@cache
def _texts(dialect: Dialect) -> dict[str, str]:
    """Every statement of a database by its name, the comments taken out."""
    found: dict[str, str] = {}
    for path in (*sorted((_SQL / "queries").glob("*.sql")), _SQL / dialect / "queries.sql"):
        _, *parts = _NAME.split(path.read_text(encoding="utf-8"))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            found[name] = _COMMENT.sub("", text).strip().removesuffix(";").strip()
    for _, statements in _migration_files(dialect):
        found.update(statements)
    return found
