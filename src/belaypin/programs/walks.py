"""Walks: a page of what a filter asks for, found in the order of an index, in bounded steps.

SQL walks in order, Python decides: a walk yields candidates, what is known of them is read together,
and the filter picks. One call looks at ``BUDGET`` candidates at most, then says where to go on.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.filters import Filter, Values
from belaypin.program import Program
from belaypin.records.listing import Count, Listing, Row

__all__ = ["BUDGET", "Candidate", "Found", "Place", "Walk", "count", "page", "place_of", "text_of"]

R = TypeVar("R", bound=Row)

BUDGET = 2_000
"""How many candidates one call looks at."""

_MOST_TOGETHER = 500

Place = tuple[Any, ...]
"""Where a candidate stands in the order of its walk: texts and numbers."""


class Candidate(NamedTuple):
    """Something that may be listed: its row's number, and its place in the walk."""

    number: int
    place: Place


class Found(NamedTuple):
    """What is known of a candidate: its row, and its values for the filter."""

    row: Any
    values: Values


class Walk(Protocol):
    """Candidates in some order, and how to learn more of them."""

    name: str

    def step(self, after: Place | None, count: int) -> Program[list[Candidate]]: ...
    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]: ...


def page(walk: Walk, where: Filter, limit: int, after: str | None) -> Program[Listing[Any]]:
    """The first ``limit`` rows behind ``after`` that the filter picks, and where the next begin."""
    found: list[Any] = []
    place = place_of(after, walk.name)
    left = max(BUDGET, limit + 1)
    count = min(limit + 1, _MOST_TOGETHER)
    while True:
        count = min(count, left)
        candidates = yield from walk.step(place, count)
        known = (yield from walk.learn(candidates)) if candidates else {}
        for candidate in candidates:
            if len(found) == limit:
                return Listing(tuple(found), text_of(place, walk.name))
            each = known.get(candidate.number)
            if each is not None and where.matches(each.values):
                found.append(each.row)
            place = candidate.place
        left -= len(candidates)
        if len(candidates) < count:
            return Listing(tuple(found), None)
        if left <= 0:
            return Listing(tuple(found), text_of(place, walk.name))
        count = _MOST_TOGETHER


def count(walk: Walk, where: Filter, cap: int) -> Program[Count]:
    """How many the filter picks, up to ``cap`` of them."""
    total, left, place, together = 0, max(BUDGET, cap), None, _MOST_TOGETHER
    while True:
        candidates = yield from walk.step(place, min(together, left))
        if where:
            known = (yield from walk.learn(candidates)) if candidates else {}
            total += sum(where.matches(each.values) for each in known.values())
        else:
            total += len(candidates)
        left -= len(candidates)
        if total >= cap:
            return Count(cap, is_exact=False)
        if len(candidates) < together and left > 0:
            return Count(total)
        if left <= 0:
            return Count(total, is_exact=False)
        place = candidates[-1].place


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
