"""Parquet, through pyarrow: rows in columns, in files of an explicit schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

from belaypin.errors import MissingDriver, UsageError
from belaypin.fields import check_count, describe
from belaypin.sinks.disk import Output
from belaypin.sinks.part import Encoder
from belaypin.sinks.sink import Sink

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingDriver(
        "Parquet needs pyarrow, which is not installed. Run: pip install 'belaypin[parquet]'"
    ) from error

__all__ = ["Parquet"]


class Parquet(Sink):
    """Parquet files in ``directory``, one for each commit, all of the same ``schema``.

    ``schema`` is a ``pyarrow.Schema``. It is given, not guessed from the first rows: files whose
    columns differ by what a page happened to hold are no data set. Rows are mappings; a field that
    the schema does not have is refused, one that is missing is null where the schema allows it.
    ``row_group`` rows are held in memory at a time; ``compression`` is as pyarrow names it.

    >>> import tempfile, pyarrow
    >>> schema = pyarrow.schema([("id", pyarrow.int64()), ("text", pyarrow.string())])
    >>> Parquet(tempfile.mkdtemp(), schema=schema, name="posts").schema.names
    ['id', 'text']
    """

    suffix = ".parquet"

    def __init__(
        self,
        directory: str | PathLike[str],
        *,
        schema: pa.Schema,
        name: str | None = None,
        row_group: int = 50_000,
        compression: str = "zstd",
    ) -> None:
        if not isinstance(schema, pa.Schema):
            raise UsageError(f"schema must be a pyarrow.Schema, not {describe(schema)}.")
        check_count("row_group", row_group, at_least=1)
        super().__init__(directory, name=name)
        self.schema = schema
        self._row_group = row_group
        self._compression = compression

    def _encoder(self, output: Output) -> Encoder:
        return _Columns(output, self.schema, self._row_group, self._compression)


class _Columns:
    def __init__(self, output: Output, schema: pa.Schema, row_group: int, compression: str) -> None:
        self._schema = schema
        self._names = frozenset(schema.names)
        self._row_group = row_group
        self._rows: list[Mapping[str, Any]] = []
        self._refused = ""
        with _refusals("the schema"):
            self._writer = pq.ParquetWriter(output, schema, compression=compression)

    def take(self, row: Any) -> Mapping[str, Any]:
        if hasattr(type(row), "model_dump"):
            row = row.model_dump()
        if not isinstance(row, Mapping):
            raise UsageError(f"a row for Parquet must be a mapping, not {describe(row)}.")
        if not self._names.issuperset(row):
            unknown = sorted(map(str, row.keys() - self._names))
            raise UsageError(
                f"the row has fields that the schema does not have: {', '.join(unknown)}. Add them "
                f"to the schema, or leave them out of the row."
            )
        return dict(row)

    def check(self, taken: Mapping[str, Any]) -> None:
        for field in self._schema:
            self._column(field, [taken])

    def write(self, taken: Mapping[str, Any]) -> None:
        self._rows.append(taken)
        if len(self._rows) >= self._row_group:
            self._write_group()

    def finish(self) -> None:
        self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        if self._refused:
            raise UsageError(self._refused)
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            table = pa.Table.from_arrays(
                [self._column(field, rows) for field in self._schema], schema=self._schema
            )
        except UsageError as error:
            self._refused = f"{error}"  # they are gone from here: the file must never be finished
            raise
        self._writer.write_table(table, row_group_size=self._row_group)

    def _column(self, field: pa.Field, rows: list[Mapping[str, Any]]) -> pa.Array:
        values = [row.get(field.name) for row in rows]
        with _refusals(f"a value of {field.name!r} among the last {len(rows)} rows"):
            column = pa.array(values, type=field.type)
            if not (_is_exact(field.type) or _is_kept(values, column.to_pylist())):
                raise ValueError(f"as {field.type} it would lose a part of itself")
        if not field.nullable and column.null_count:
            raise UsageError(
                f"{column.null_count} rows have no {field.name!r}, which the schema says is never "
                f"null."
            )
        return column


def _is_exact(type_: pa.DataType) -> bool:
    """Whether pyarrow itself refuses what a type can't hold: 1.5 as an integer becomes 1."""
    kinds = pa.types
    return bool(
        kinds.is_floating(type_)
        or kinds.is_string(type_)
        or kinds.is_large_string(type_)
        or kinds.is_binary(type_)
        or kinds.is_boolean(type_)
        or kinds.is_decimal(type_)
    )


def _is_kept(value: Any, stored: Any) -> bool:
    """Whether all of a value reads back; a struct may have more fields, which are null."""
    if isinstance(value, Mapping):
        fields = dict(stored)
        return all(name in fields and _is_kept(v, fields[name]) for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return len(value) == len(stored) and all(map(_is_kept, value, stored))
    return bool(value == stored)


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{what} won't do for Parquet: {error}.") from error
