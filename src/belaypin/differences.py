"""Differences: what changed between two JSON documents, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Any

from belaypin.fields import describe

__all__ = ["differences"]

MAX_LINES = 50
_LONG_NAME = 40

_NOTHING = object()


def differences(before: Any, after: Any, *, max_lines: int = MAX_LINES) -> str:
    """Return one line per place that differs: ``-`` taken away, ``+`` added, ``~`` changed.

    No more than ``max_lines`` of them; a last line says that there are more.

    >>> print(differences({"page": 3, "tags": ["a"]}, {"pages": 3, "tags": ["b"]}))
    - page: 3
    + pages: 3
    ~ tags[0]: 'a' -> 'b'
    """
    found = list(islice(_differences(before, after, ""), max_lines + 1))
    return "\n".join([*found[:max_lines], *["…"][: len(found) - max_lines]])


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in sorted(before.keys() | after.keys()):
            deeper = _below(path, name)
            yield from _differences(before.get(name, _NOTHING), after.get(name, _NOTHING), deeper)
    elif isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip_longest(before, after, fillvalue=_NOTHING)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before is _NOTHING:
        yield f"+ {path}: {describe(after)}"
    elif after is _NOTHING:
        yield f"- {path}: {describe(before)}"
    elif type(before) is not type(after) or before != after:  # 1, 1.0 and True differ
        yield f"~ {path or 'state'}: {describe(before)} -> {describe(after)}"


def _below(path: str, name: str) -> str:
    if not name.isidentifier() or len(name) > _LONG_NAME:
        return f"{path}[{describe(name)}]"
    return f"{path}.{name}" if path else name
