"""Migrations as text: what a database's owner can read, and run by hand."""

from __future__ import annotations

from collections.abc import Sequence

from belaypin.catalog import Catalog, Dialect, Migration
from belaypin.clock import unique_id
from belaypin.program import SqlValue, Statement
from belaypin.records.reports import MigrationStep

__all__ = ["scripts"]


def scripts(dialect: Dialect, steps: Sequence[Migration]) -> list[MigrationStep]:
    """Each step with all of its SQL: one transaction, with what the runner itself would note."""
    catalog = Catalog(dialect)
    epoch = unique_id()
    return [MigrationStep(step.version, step.name, _script(catalog, step, epoch)) for step in steps]


def _script(catalog: Catalog, step: Migration, epoch: str) -> str:
    note: dict[str, SqlValue] = {
        "version": step.version,
        "name": step.name,
        "checksum": step.checksum,
    }
    statements = [
        *(Statement("migration.lock"), Statement("migration.table")),
        *map(Statement, step.statements),
        Statement("meta.insert", {"name": "epoch", "value": epoch}),
        Statement("migration.record", note),
    ]
    lines = [_text(catalog, statement) + ";" for statement in statements]
    return "\n\n".join([f"-- {step.version:04} {step.name}", "BEGIN;", *lines, "COMMIT;"]) + "\n"


def _text(catalog: Catalog, statement: Statement) -> str:
    """The statement with its parameters in it: they are ours, short names and numbers."""
    sql, _ = catalog.bind(statement)
    for name, value in statement.params.items():
        sql = sql.replace(f":{name}", _literal(value))
    return sql


def _literal(value: SqlValue) -> str:
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"
