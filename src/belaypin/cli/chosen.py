"""The failures that a command is about: one, or those of a key or a filter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import belaypin
from belaypin.cli.targets import Target

__all__ = ["FIELDS", "failures_of"]

FIELDS = ("pipeline", "entity", "stream", "state", "error")
"""What a filter may ask of a failure."""

_PAGE = 500


def failures_of(
    store: belaypin.Store, target: Target, *, after: int = 0
) -> Iterator[belaypin.Failure]:
    """The failures that a key or a filter picks, oldest first, from behind ``after``."""
    where = target.filter
    where.check(FIELDS, "Failures")
    given = _narrowed(target)
    while True:
        page = store.failures(*given, limit=_PAGE, after=after)
        yield from (each for each in page if where.matches(_values(each)))
        if len(page) < _PAGE:
            return
        after = page[-1].failure_id


def _narrowed(target: Target) -> list[str]:
    """The part of a filter that the store can look for by itself: names, from the left."""
    exact = {
        term.field: term.text
        for term in target.filter.of("pipeline", "entity", "stream")
        if term.operator == ":" and not term.is_prefix
    }
    return list(takewhile(bool, (exact.get(name, "") for name in ("pipeline", "entity", "stream"))))


def _values(failure: belaypin.Failure) -> dict[str, Any]:
    key = failure.key
    return {
        "pipeline": key.pipeline,
        "entity": key.entity,
        "stream": key.stream,
        "state": failure.status,
        "error": failure.error,
    }
