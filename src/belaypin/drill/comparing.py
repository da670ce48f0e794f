"""Two pictures compared: what is missing in the second, and what it has too much of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from belaypin.drill.picture import Picture, Stream, digest, outside

__all__ = ["Difference", "differences", "volatile"]

_SHOWN = 3
_SHOWN_CHARS = 200


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How one table or stream differs: what is missing, what is there too often, with examples.

    Of coverage ``lost`` counts the spans that the undisturbed run had covered and this one has not,
    ``doubled`` those that only this one has: there it may have missed something.
    """

    kind: Literal["table", "ledger", "coverage", "put aside"]
    where: str
    lost: int
    doubled: int
    examples: tuple[str, ...] = ()
    hint: str = ""

    def __str__(self) -> str:
        """Return one line, and one for each example."""
        head = f"{self.kind} {self.where}: {self.lost} lost, {self.doubled} too many. {self.hint}"
        return "\n".join([head.rstrip(), *(f"  {example}" for example in self.examples)])


def differences(
    expected: Picture, found: Picture, urls: tuple[str, str], slack_us: int
) -> list[Difference]:
    """How ``found`` differs from ``expected``; ``urls`` are those of the two databases.

    ``slack_us``: time that went by between the two runs. By so much windows of a given length lie
    later in the second, which is no difference.
    """
    return [
        *_tables(expected, found, urls),
        *_ledgers(expected, found),
        *_coverage(expected, found, slack_us),
        *_put_aside(expected, found),
    ]


def volatile(first: str, second: str, unequal: list[Difference]) -> list[str]:
    """The columns, ``table.column``, without which two databases would have the same rows."""
    names = [each.where for each in unequal if each.kind == "table"]
    found = []
    with outside(first) as one, outside(second) as other:
        columns = one.tables()
        for name in names:
            for column, _ in columns.get(name, []):
                if Counter(one.rows(name, [column])) != Counter(other.rows(name, [column])):
                    found.append(f"{name}.{column}")
    return found


def _tables(expected: Picture, found: Picture, urls: tuple[str, str]) -> Iterator[Difference]:
    for name in sorted(expected.tables.keys() | found.tables.keys()):
        ours = expected.tables.get(name)
        theirs = found.tables.get(name)
        wanted: Counter[bytes] = ours.rows if ours else Counter()
        there: Counter[bytes] = theirs.rows if theirs else Counter()
        if wanted == there and (ours is None) == (theirs is None):
            continue
        lost, extra = wanted - there, there - wanted
        missing = _rows(urls[0], name, ours.columns, lost) if ours else []
        surplus = _rows(urls[1], name, theirs.columns, extra) if theirs else []
        yield Difference(
            kind="table",
            where=name,
            lost=lost.total(),
            doubled=extra.total(),
            examples=(*(f"lost: {r}" for r in missing), *(f"too many: {r}" for r in surplus)),
        )


def _rows(url: str, table: str, columns: tuple[str, ...], wanted: Counter[bytes]) -> list[str]:
    """Some of the rows that a database has too many of, as text."""
    shown: list[str] = []
    left = set(wanted)
    with outside(url) as database:
        for row in database.rows(table, columns):
            if left and digest(row) in left:
                left.discard(digest(row))
                shown.append(_shortened(dict(zip(columns, row, strict=True))))
                if len(shown) == _SHOWN:
                    break
    return shown


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _ledgers(expected: Picture, found: Picture) -> Iterator[Difference]:
    for stream in sorted(expected.counts.keys() | found.counts.keys()):
        wanted, there = (p.counts.get(stream, (0, 0)) for p in (expected, found))
        if wanted != there:
            items = there[0] - wanted[0]
            changed = there[1] - wanted[1]
            yield Difference(
                kind="ledger",
                where=_name(stream),
                lost=max(-items, 0) + max(-changed, 0),
                doubled=max(items, 0) + max(changed, 0),
                hint=f"items and changed: {wanted} undisturbed, {there} under kills.",
            )


def _coverage(expected: Picture, found: Picture, slack_us: int) -> Iterator[Difference]:
    for stream in sorted(expected.coverage.keys() | found.coverage.keys()):
        wanted = expected.coverage.get(stream, [])
        there = found.coverage.get(stream, [])
        missing = [span for span in _minus(wanted, there) if not _is_older(span, wanted, slack_us)]
        extra = [span for span in _minus(there, wanted) if not _is_newer(span, wanted, slack_us)]
        if missing or extra:
            yield Difference(
                kind="coverage",
                where=_name(stream),
                lost=len(missing),
                doubled=len(extra),
                examples=tuple(
                    f"[{start_us}, {end_us}) us" for start_us, end_us in missing[:_SHOWN]
                ),
            )


def _is_older(span: tuple[int, int], wanted: list[tuple[int, int]], slack_us: int) -> bool:
    """Whether it is only that a window "of the last 30 days" began later."""
    return span[0] == wanted[0][0] and span[1] - span[0] <= slack_us


def _is_newer(span: tuple[int, int], wanted: list[tuple[int, int]], slack_us: int) -> bool:
    """Whether it is only that a window "until now" ended later."""
    return bool(wanted) and span[0] == wanted[-1][1] and span[1] - span[0] <= slack_us


def _minus(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start_us, end_us in some:
        at_us = start_us
        for low_us, high_us in others:
            if high_us <= at_us or low_us >= end_us:
                continue
            if low_us > at_us:
                yield at_us, low_us
            at_us = high_us
        if at_us < end_us:
            yield at_us, end_us


def _put_aside(expected: Picture, found: Picture) -> Iterator[Difference]:
    lost, extra = expected.put_aside - found.put_aside, found.put_aside - expected.put_aside
    if lost or extra:
        yield Difference(
            kind="put aside",
            where="items that failed",
            lost=lost.total(),
            doubled=extra.total(),
            examples=tuple(map(_shortened, [*lost, *extra][:_SHOWN])),
        )


def _name(stream: Stream) -> str:
    return " / ".join(stream)
