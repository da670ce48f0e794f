"""Parts: a range of keys read bit by bit, so that whoever writes meanwhile never waits for long."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from belaypin.program import PAUSE, Program, Row, Statement
from belaypin.programs.scope import Scope

__all__ = ["PART_KEYS", "Sums", "each_part", "one_pipeline"]

PART_KEYS = 1_000
"""So many keys does a part have, and those that its last entity has beyond; some milliseconds' work."""


def each_part(scope: Scope, read: Callable[[Scope], Program[None]]) -> Program[None]:
    """Read one part of ``scope`` after the other, with a pause in between.

    No entity is in two parts, and no part in two pipelines. Each part is of one moment, but not all of
    them together: see ``PAUSE``.
    """
    here = yield from one_pipeline(scope)
    while here is not None:
        yield Statement("recovery.begin")  # a part is little of what there is: look each row up
        cut = yield Statement("parts.cut", {**here.params(), "keys": PART_KEYS - 1})
        part = here.up_to(cut[0][0]) if cut else here
        yield from read(part)
        here = here.beyond(part.last) if cut else (yield from one_pipeline(scope.behind(here)))
        if here is not None:
            yield PAUSE


def one_pipeline(scope: Scope) -> Program[Scope | None]:
    """What of ``scope`` lies in its first pipeline; None if there is none."""
    if scope.first[0] == scope.last[0]:
        return scope
    at = {"pipeline": scope.first[0], "last_pipeline": scope.last[0]}
    found = (yield Statement("parts.pipeline", at))[0][0]
    return None if found is None else scope.within(found)


class Sums:
    """Numbers that add up over the parts."""

    def __init__(self, columns: int) -> None:
        self.row: list[int] = [0] * columns

    def add(self, row: Row | Iterable[int]) -> None:
        """Add a part's numbers."""
        self.row = [total + number for total, number in zip(self.row, row, strict=True)]
