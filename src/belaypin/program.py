"""The contract between semantics and engines.

A *program* is a generator that yields named SQL statements and receives their rows. It knows
statement names, never SQL text; it calls no driver, no clock and no source of chance. One program
is one transaction, or one part of the caller's. So the semantics exist once, for every database
and for sync and async code; and a test can stop a program before any statement, or interleave two.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

__all__ = ["PAUSE", "Program", "Row", "Rows", "SqlValue", "Statement", "drive"]

T = TypeVar("T")

SqlValue = str | int | float | bytes | None
Row = tuple[Any, ...]
Rows = Sequence[Row]


class Statement(NamedTuple):
    """One SQL statement to run: its name in the catalog and its parameters by name.

    With ``many`` it runs once for each of those parameters instead, and returns no rows.
    """

    name: str
    params: Mapping[str, SqlValue] = {}
    many: Sequence[Mapping[str, SqlValue]] = ()


Program = Generator[Statement, Rows, T]

PAUSE = Statement("read.pause")
"""Between two parts of a long read: its transaction ends here, and another begins after a rest.

So writers of SQLite without WAL can commit, PostgreSQL can clear away rows that were replaced, and half
of the time is others'. The statements before it and those behind it are of
two moments. In a transaction that writes, in memory, and in SQLite's WAL nothing is done.
"""


def drive(program: Program[T], execute: Callable[[Statement], Rows]) -> T:
    """Run ``program`` to its end, executing each statement that it yields; return its result.

    An error from ``execute`` ends the program: a transaction that failed has nothing to add.

    >>> def answer():
    ...     rows = yield Statement("example.answer")
    ...     return rows[0][0]
    >>> drive(answer(), lambda statement: [(42,)])
    42
    """
    try:
        statement = next(program)
        while True:
            statement = program.send(execute(statement))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        program.close()
