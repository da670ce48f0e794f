"""The sieve: what of a filter an index or one statement can narrow down, before Python decides.

It may let more through than the filter picks, never less.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from belaypin.filters import Filter, Term, folded
from belaypin.keys import MAX_PART_BYTES
from belaypin.program import SqlValue
from belaypin.programs.scope import Scope

__all__ = ["narrowed", "sifting", "source"]

_LEAST, _MOST = -(2**62), 2**62
_HIGHEST = "\U0010ffff" * (MAX_PART_BYTES // 4)
_OF_STATE = {
    "quarantined": "quarantined",
    "failed": "failing",
    "waiting": "failing",
    "working": "held",
    "interrupted": "begun",
    "complete": "complete",
}


def narrowed(where: Filter, pipeline: str | None, entity: str | None = None) -> Scope | None:
    """The keys that a filter may pick at most; None: none at all."""
    pipelines, entities = set(_exact(where, "pipeline")), set(_exact(where, "entity"))
    if pipeline is not None:
        pipelines.add(pipeline)
    if entity is not None:
        entities.add(entity)
    if len(pipelines) > 1 or len(entities) > 1:
        return None
    if not pipelines:
        return Scope.of(None, None)
    name, only = next(iter(pipelines)), next(iter(entities), None)
    begin = _begin(where)
    if only is None and begin:
        return Scope((name, begin, ""), (name, begin + _HIGHEST, _HIGHEST))
    return Scope.of(name, only)


class Bounds(NamedTuple):
    """Between what a number lies, both ends included."""

    least: int = _LEAST
    most: int = _MOST

    @property
    def is_open(self) -> bool:
        return self == Bounds()

    def cut(self, term: Term) -> Bounds:
        least, most, number = self.least, self.most, term.number
        if term.operator in (":", ">=", ">"):
            least = max(least, number + (term.operator == ">"))
        if term.operator in (":", "<=", "<"):
            most = min(most, number - (term.operator == "<"))
        return Bounds(least, most)


def bounds(where: Filter, field: str) -> Bounds:
    """What a filter demands of a number."""
    found = Bounds()
    for term in where.of(field):
        found = found.cut(term)
    return found


def source(where: Filter) -> str | None:
    """The smallest set, with an index of its own, that all that the filter picks is in; None: none."""
    states = {_OF_STATE[term.text] for term in where.of("state") if term.text in _OF_STATE}
    wanted = [name for name in ("quarantined", "failing", "held") if name in states]
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("failing", lambda: any(where.of("error"))),
        ("held", lambda: any(where.of("role", "owner"))),
        ("begun", lambda: "begun" in states),
        ("put_aside", lambda: bounds(where, "failures").least > 0),
        ("gaps", lambda: bounds(where, "gaps").least > 0),
        ("priority", lambda: _excludes_zero(bounds(where, "priority"))),
        ("complete", lambda: "complete" in states),
    )
    return next((name for name in (*wanted, *(n for n, rule in rules if rule()))), None)


def sifting(where: Filter, *, is_entities: bool) -> dict[str, SqlValue] | None:
    """The parameters of the sifting statement; None if it would let everything through."""
    word = next((t.text for t in where.terms if t.field is None and not t.is_negated), "")
    begin = _begin(where)
    found: dict[str, SqlValue] = {"word": pattern(word), "begin": begin, "begin_chars": len(begin)}
    if is_entities:
        return found if word or begin else None
    items, ages, lags = (bounds(where, field) for field in ("items", "updated", "lag"))
    name = next(iter(_exact(where, "stream")), "")
    if not (word or begin or name) and items.is_open and ages.is_open and lags.is_open:
        return None
    return {
        **found,
        "name": name,
        "least_items": items.least,
        "most_items": items.most,
        "oldest_us": ages.most,
        "newest_us": ages.least,
        "any_lag": int(lags.is_open),
        "least_lag_us": lags.least,
        "most_lag_us": lags.most,
    }


def _exact(where: Filter, field: str) -> Iterator[str]:
    return (t.text for t in where.of(field) if t.operator == ":" and not t.is_prefix)


def _begin(where: Filter) -> str:
    """What the entity begins with: its whole name, or a part."""
    return next((term.text for term in where.of("entity") if term.operator == ":"), "")


def _excludes_zero(of: Bounds) -> bool:
    return of.least > 0 or of.most < 0


def pattern(word: str) -> str:
    """A LIKE pattern of what contains the word; the escape is an exclamation mark."""
    text = folded(word)
    for special in "!%_":
        text = text.replace(special, "!" + special)
    return f"%{text}%"
