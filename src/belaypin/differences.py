"""Differences: what changed between two JSON documents, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any, NamedTuple

from belaypin.fields import describe

__all__ = ["NOTHING", "Place", "differences", "pointer", "walk"]

MAX_LINES = 50
_LONG_NAME = 40

NOTHING: Any = object()
"""Stands for what is not there."""


class Place(NamedTuple):
    """A place where two documents differ: the names and indices that lead there, and its values."""

    path: tuple[str | int, ...]
    before: Any
    after: Any


def differences(before: Any, after: Any, *, max_lines: int = MAX_LINES) -> str:
    """Return one line per place that differs: ``-`` taken away, ``+`` added, ``~`` changed.

    No more than ``max_lines`` of them; a last line says that there are more.

    >>> print(differences({"page": 3, "tags": ["a"]}, {"pages": 3, "tags": ["b"]}))
    - page: 3
    + pages: 3
    ~ tags[0]: 'a' -> 'b'
    """
    found = list(map(_line, islice(walk(before, after), max_lines + 1)))
    return "\n".join([*found[:max_lines], *["…"][: len(found) - max_lines]])


def walk(before: Any, after: Any, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Every place that differs, in order; ``NOTHING`` stands where one of the two has nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            old, new = before.get(name, NOTHING), after.get(name, NOTHING)
            yield from walk(old, new, (*path, name))
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=NOTHING)):
            yield from walk(old, new, (*path, index))
    elif type(before) is not type(after) or before != after:  # 1, 1.0 and True differ
        yield Place(path, before, after)


def pointer(path: tuple[str | int, ...]) -> str:
    """The path as a JSON pointer (RFC 6901).

    >>> pointer(("tags", 0, "a/b"))
    '/tags/0/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _line(place: Place) -> str:
    path = ""
    for part in place.path:
        path = _below(path, part)
    if place.before is NOTHING:
        return f"+ {path}: {describe(place.after)}"
    if place.after is NOTHING:
        return f"- {path}: {describe(place.before)}"
    return f"~ {path or 'state'}: {describe(place.before)} -> {describe(place.after)}"


def _below(path: str, part: str | int) -> str:
    if isinstance(part, int):
        return f"{path}[{part}]"
    if not part.isidentifier() or len(part) > _LONG_NAME:
        return f"{path}[{describe(part)}]"
    return f"{path}.{part}" if path else part
