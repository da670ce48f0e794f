"""Walks: a page of what a filter asks for, found in the order of an index, in bounded steps.

SQL walks in order, Python decides: a walk yields candidates, what is known of them is read together,
and the filter picks. One call looks at ``BUDGET`` candidates at most, then says where to go on.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.filters import Filter, Values
from belaypin.program import Program, Statement
from belaypin.records.listing import Count, Listing

__all__ = [
    "BUDGET",
    "Candidate",
    "Found",
    "Place",
    "Stretch",
    "Walk",
    "count",
    "learnt",
    "page",
    "place_of",
    "text_of",
]

BUDGET = 1_000
"""How many candidates one call looks at."""

_MOST_TOGETHER = 500

Place = tuple[Any, ...]
"""Where a candidate stands in the order of its walk: texts and numbers."""


class Candidate(NamedTuple):
    """Something that may be listed: its row's number (None: nothing is), and its place in the walk."""

    number: int | None
    place: Place


class Stretch(NamedTuple):
    """Some candidates in order; ``is_end``: there are none behind them. ``cost``: of the budget."""

    candidates: list[Candidate]
    is_end: bool
    cost: int


class Found(NamedTuple):
    """What is known of a candidate: how to make its row, and its values for the filter."""

    row: Callable[[], Any]
    values: Values
    head_us: int | None = None
    slot: int = 0


class Walk(Protocol):
    """Candidates in some order, and how to learn more of them."""

    name: str

    def step(self, after: Place | None, count: int) -> Program[Stretch]: ...
    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]: ...


def page(walk: Walk, where: Filter, limit: int, after: str | None) -> Program[Listing[Any]]:
    """The first ``limit`` rows behind ``after`` that the filter picks, and where the next begin."""
    found: list[Any] = []
    place = place_of(after, walk.name)
    left = max(BUDGET, limit + 1)
    together = min(limit + 1, _MOST_TOGETHER)
    yield Statement("recovery.begin")
    while True:
        stretch = yield from walk.step(place, min(together, left))
        known = yield from learnt(walk, stretch)
        for candidate in stretch.candidates:
            each = known.get(candidate.number)
            if each is not None and where.matches(each.values):
                if len(found) == limit:
                    return Listing(tuple(found), text_of(place, walk.name))
                found.append(each.row())
            place = candidate.place
        left -= stretch.cost
        if stretch.is_end:
            return Listing(tuple(found), None)
        if left <= 0:
            return Listing(tuple(found), text_of(place, walk.name))
        together = _MOST_TOGETHER


def count(walk: Walk, where: Filter, cap: int) -> Program[Count]:
    """How many the filter picks, up to ``cap`` of them."""
    total, left, place = 0, max(BUDGET, cap + 1) if not where else BUDGET, None
    yield Statement("recovery.begin")
    while True:
        stretch = yield from walk.step(place, left if not where else min(_MOST_TOGETHER, left))
        if where:
            known = yield from learnt(walk, stretch)
            total += sum(where.matches(each.values) for each in known.values())
        else:
            total += sum(candidate.number is not None for candidate in stretch.candidates)
        left -= stretch.cost
        if total > cap:
            return Count(cap, is_exact=False)
        if stretch.is_end or left <= 0:
            return Count(total, is_exact=stretch.is_end)
        place = stretch.candidates[-1].place


def learnt(walk: Walk, stretch: Stretch) -> Program[Mapping[Any, Found]]:
    """What is known of a stretch, by number."""
    real = [candidate for candidate in stretch.candidates if candidate.number is not None]
    if not real:
        return {}
    return (yield from walk.learn(real))


def text_of(place: Place | None, name: str) -> str:
    """A place as the opaque text that callers pass back."""
    return urlsafe_b64encode(msgspec.json.encode([name, *(place or ())])).decode().rstrip("=")


def place_of(text: str | None, name: str) -> Place | None:
    """The place that a text means. Raises UsageError if it is none of this listing's."""
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        found = msgspec.json.decode(urlsafe_b64decode(padded.encode("ascii")), type=tuple[Any, ...])
    except (AttributeError, TypeError, ValueError, binascii.Error, msgspec.MsgspecError):
        found = ()
    scalars = all(isinstance(part, (str, int)) for part in found)
    if not scalars or found[:1] != (name,):
        raise UsageError(
            f"after= is what an earlier call of this very listing returned as next, in the same "
            f"order; got {describe(text)}. Leave it out to begin anew."
        )
    return found[1:]
