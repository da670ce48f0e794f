"""Answers: a table on a terminal, aligned text in a pipe, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Literal

import click
import msgspec

import belaypin
from belaypin.cli.text import cell, shown_lines

__all__ = ["Column", "Format", "Show", "jsonable"]

Format = Literal["text", "json", "jsonl"]

Column = str | tuple[str, Callable[[Any], Any]]
"""A field of the rows, or a heading and a function from a row to the value."""


class Show:
    """Writes the answer of a command to the standard output, and remarks to the standard error."""

    def __init__(self, form: Format) -> None:
        self.form = form

    def rows(
        self,
        rows: Iterable[Any],
        columns: Sequence[Column],
        *,
        after: str | None = None,
        empty: str = "Nothing.",
    ) -> None:
        """A list; ``after`` is where its next page begins."""
        if self.form == "jsonl":
            for row in rows:
                self._echo(json.dumps(jsonable(row)))
            return
        found = list(rows)
        if self.form == "json":
            self._json({"rows": jsonable(found), "next": after})
        elif not found:
            self.note(empty)
        else:
            _table(found, columns)
        if after is not None and self.form != "json":
            self.note(f"There is more: --after {after}")

    def listing(
        self, page: belaypin.Listing[Any], columns: Sequence[Column], *, empty: str = "Nothing."
    ) -> None:
        """A page of what the store lists."""
        self.rows(page.rows, columns, after=page.next, empty=empty)

    def record(self, data: Any, text: str | Callable[[], None]) -> None:
        """One thing: ``data`` for programs, ``text`` for people."""
        if self.form == "json":
            self._json(jsonable(data))
        elif self.form == "jsonl":
            self._echo(json.dumps(jsonable(data)))
        elif isinstance(text, str):
            self._echo(shown_lines(text))
        else:
            text()

    def fields(self, record: Any, *, without: Collection[str] = ()) -> None:
        """A record as lines of a name and a value."""
        names = [name for name in record.__struct_fields__ if name not in without]
        width = max(map(len, names))
        for name in names:
            value = getattr(record, name)
            is_long = isinstance(value, str) and "\n" in value
            text = shown_lines(value) if is_long else cell(value)
            self._echo(f"{name.ljust(width)}  {text}")

    def note(self, text: str) -> None:
        """A remark beside the answer, for people."""
        if self.form == "text":
            click.echo(shown_lines(text), err=True)

    def table(self, rows: Sequence[Any], columns: Sequence[Column]) -> None:
        """A list inside the text of a record."""
        if rows:
            _table(rows, columns)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """What others print as long as the block runs goes to the standard error, unless people read.

        A pipeline's functions, their worker processes and what engines log: whoever reads our JSON
        is to find nothing else there.
        """
        if self.form == "text":
            yield
            return
        sys.stdout.flush()
        number = sys.stdout.fileno()
        ours = os.dup(number)
        os.dup2(sys.stderr.fileno(), number)
        try:
            yield
        finally:
            sys.stdout.flush()
            os.dup2(ours, number)
            os.close(ours)

    def _json(self, data: Any) -> None:
        self._echo(json.dumps(data, indent=2))

    def _echo(self, text: str) -> None:
        click.echo(text)


def jsonable(value: Any) -> Any:
    """A value as JSON: lengths of time in seconds, times as ISO 8601 texts, keys by their parts."""
    if hasattr(value, "as_dict"):
        return jsonable(value.as_dict())
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return msgspec.to_builtins(value)
    if isinstance(value, msgspec.Struct):
        return {name: jsonable(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(name): jsonable(part) for name, part in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(part) for part in value]
    return value


def _table(rows: Sequence[Any], columns: Sequence[Column]) -> None:
    names = [column if isinstance(column, str) else column[0] for column in columns]
    values = [[_value(row, column) for column in columns] for row in rows]
    cells = [[cell(value) for value in row] for row in values]
    right = [all(_is_figure(row[n]) for row in values) for n in range(len(columns))]
    if sys.stdout.isatty():
        _rich(names, cells, right)
    else:
        _aligned(names, cells, right)


def _value(row: Any, column: Column) -> Any:
    if not isinstance(column, str):
        return column[1](row)
    return row[column] if isinstance(row, dict) else getattr(row, column)


def _is_figure(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float, timedelta)) and value is not True)


def _aligned(names: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    lines = [[name.upper().replace("_", " ") for name in names], *cells]
    widths = [max(len(line[n]) for line in lines) for n in range(len(names))]
    for line in lines:
        padded = (
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def _rich(names: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, is_right in zip(names, right, strict=True):
        justify: Literal["right", "left"] = "right" if is_right else "left"
        table.add_column(Text(name.replace("_", " ")), justify=justify, overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console().print(table)
