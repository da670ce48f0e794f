"""The failures that a command is about: one, or those of a key or a filter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import belaypin
from belaypin.cli.targets import Target

__all__ = ["FIELDS", "exact_choice", "failures_of"]

FIELDS = ("pipeline", "entity", "stream", "state", "error")
"""What a filter may ask of a failure."""

_PAGE = 500


def failures_of(
    store: belaypin.Store, target: Target, *, after: int = 0
) -> Iterator[belaypin.Failure]:
    """The failures that a key or a filter picks, oldest first, from behind ``after``.

    The store looks for names, for a state and for how an error begins. What only has a part in it
    (error~429), or has not, is sifted here: of each failure that is left, in pages of 500.
    """
    where = target.filter
    where.check(FIELDS, "Failures")
    given, narrowed = _narrowed(target), _narrowed_further(target)
    while True:
        page = store.failures(*given, **narrowed, limit=_PAGE, after=after)
        yield from (each for each in page if where.matches(_values(each)))
        if len(page) < _PAGE:
            return
        after = page[-1].failure_id


def exact_choice(target: Target) -> tuple[list[str], dict[str, Any]]:
    """A key or a filter as the arguments of the store's own calls; UsageError if it asks for more."""
    where, given = target.filter, _narrowed(target)
    where.check(FIELDS, "Failures")
    choice: dict[str, Any] = {}
    for term in where.terms:
        if term.field == "state" and not term.is_negated and not term.is_prefix:
            choice["status"] = term.text
        elif term.field == "error" and term.is_prefix and not term.is_negated:
            choice["error"] = term.text
    if len(given) + len(choice) != len(where.terms):
        raise belaypin.UsageError(
            f"--by-error takes names from the left, one state and how the error begins, such as "
            f"'pipeline:shop state:waiting error:ValueError*'; got {str(where)!r}."
        )
    return given, choice


def _narrowed(target: Target) -> list[str]:
    """The part of a filter that the store can look for by itself: names, from the left."""
    exact = {
        term.field: term.text
        for term in target.filter.of("pipeline", "entity", "stream")
        if term.operator == ":" and not term.is_prefix
    }
    return list(takewhile(bool, (exact.get(name, "") for name in ("pipeline", "entity", "stream"))))


def _narrowed_further(target: Target) -> dict[str, Any]:
    """The same for a state, and for how an error begins."""
    names = {"state": "status", "error": "error"}
    terms = (term for term in target.filter.of(*names) if term.operator == ":")
    return {names[term.field or ""]: term.text for term in terms}


def _values(failure: belaypin.Failure) -> dict[str, Any]:
    key = failure.key
    return {
        "pipeline": key.pipeline,
        "entity": key.entity,
        "stream": key.stream,
        "state": failure.status,
        "error": failure.error,
    }
