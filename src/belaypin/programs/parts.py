"""Parts: a range of keys read bit by bit, so that whoever writes meanwhile never waits for long."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from belaypin.program import PAUSE, Program, Row, Statement
from belaypin.programs.scope import Scope

__all__ = ["PART_KEYS", "Sums", "each_part"]

PART_KEYS = 1_000
"""So many keys does a part have, and those that its last entity has beyond; some milliseconds' work."""


def each_part(scope: Scope, read: Callable[[Scope], Program[None]]) -> Program[None]:
    """Read one part of ``scope`` after the other, with a pause in between.

    No entity is in two parts. Where readers hold up writers, each part is of one moment, but not all
    of them together: see ``PAUSE``.
    """
    yield Statement("recovery.begin")  # a part is little of what there is: look each row up
    is_last = False
    while not is_last:
        cut = yield Statement("parts.cut", {**scope.params(), "keys": PART_KEYS - 1})
        is_last = not cut
        part = scope if is_last else scope.up_to(*cut[0])
        yield from read(part)
        if not is_last:
            scope = scope.beyond(part.last)
            yield PAUSE


class Sums:
    """Numbers that add up over the parts."""

    def __init__(self, columns: int) -> None:
        self.row: list[int] = [0] * columns

    def add(self, row: Row | Iterable[int]) -> None:
        """Add a part's numbers."""
        self.row = [total + number for total, number in zip(self.row, row, strict=True)]
