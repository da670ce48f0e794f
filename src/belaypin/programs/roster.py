"""The roster: entities and streams, each with what is known of it, in any of three orders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from belaypin.filters import Filter
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs import sieve
from belaypin.programs.scope import Scope
from belaypin.programs.standing import EntityFacts, Lease, StreamFacts, of_entity, of_stream
from belaypin.programs.walks import (
    BUDGET,
    Candidate,
    Found,
    Place,
    Stretch,
    page,
    place_of,
    text_of,
)
from belaypin.records.listing import Listing

__all__ = [
    "ENTITY_FIELDS",
    "STREAM_FIELDS",
    "Entities",
    "Order",
    "Streams",
    "listed",
    "pipelines",
]

Order = Literal["key", "lag", "updated"]

STREAM_FIELDS = (
    *("pipeline", "entity", "stream", "state", "lag", "gaps", "items", "failures", "error", "role"),
    *("owner", "updated", "priority"),
)
ENTITY_FIELDS = tuple(name for name in STREAM_FIELDS if name != "stream")

_BEGINNING = -(2**63)
_WINDOW = 10_000
_WINDOW_COST = 500


class Texts(NamedTuple):
    """The statements of a walk: by key for each source, in the other orders, and sifted."""

    what: str
    by_key: Mapping[str | None, str]
    by_lag: str
    by_update: str
    sifted: str


ENTITIES = Texts(
    "entities",
    {
        None: "listing.entities_by_key",
        "failing": "listing.entities_failing",
        "quarantined": "listing.entities_quarantined",
        "held": "listing.entities_held",
        "begun": "listing.entities_begun",
        "put_aside": "listing.entities_put_aside",
        "gaps": "listing.entities_gaps",
        "priority": "listing.entities_priority",
        "complete": "listing.entities_complete",
    },
    "listing.entities_by_lag",
    "listing.entities_by_update",
    "listing.entities_sifted",
)
STREAMS = Texts(
    "streams",
    {
        None: "listing.streams_by_key",
        "failing": "listing.streams_failing",
        "quarantined": "listing.streams_begun",  # with no window open a stream's word is another
        "held": "listing.streams_held",
        "begun": "listing.streams_begun",
        "put_aside": "listing.streams_put_aside",
        "gaps": "listing.streams_gaps",
        "priority": "listing.streams_priority",
        "complete": "listing.streams_complete",
    },
    "listing.streams_by_lag",
    "listing.streams_by_update",
    "listing.streams_sifted",
)


class _Roster(ABC):
    """What both walks share: three orders of a range of keys."""

    texts: Texts

    def __init__(self, where: Filter, scope: Scope, order: Order) -> None:
        self.name = f"{self.texts.what}:{order}"
        self.order = order
        self._scope = scope
        self._source = sieve.source(where)
        self._sifting = None
        if self._source is None:
            self._sifting = sieve.sifting(where, is_entities=self.texts is ENTITIES)
        self._pipelines: list[str] | None = None

    @property
    def is_small(self) -> bool:
        """Whether it may well be small enough to be read as a whole, and put in any order."""
        return self._source is not None or self._scope.first[1] == self._scope.last[1] != ""

    def step(self, after: Place | None, count: int) -> Program[Stretch]:
        if self.order == "key":
            return (yield from self.by_keys(after, count))
        if self._pipelines is None:
            self._pipelines = yield from _pipelines(self._scope)
        return (yield from self._in_order(self._pipelines, after, count))

    def by_keys(self, after: Place | None, count: int) -> Program[Stretch]:
        """The next candidates in the order of their keys."""
        scope = self._scope if after is None else self._beyond(after)
        if self._sifting is not None:
            return (yield from self._sift(scope, self._sifting, count))
        rows = yield Statement(self.texts.by_key[self._source], {**scope.params(), "scan": count})
        found = [Candidate(row[0], tuple(row[1:])) for row in rows]
        return Stretch(found, len(rows) < count, len(rows))

    def _beyond(self, place: Place) -> Scope:
        return self._scope.beyond((place[0], place[1], place[2]))

    def _sift(self, scope: Scope, sifting: dict[str, SqlValue], count: int) -> Program[Stretch]:
        """Look through a window of rows for what the filter may pick."""
        at = scope.params()
        now_us = (yield Statement("clock.now"))[0][0]
        ends = yield Statement("listing.window_end", {**at, "beyond": _WINDOW - 1})
        end = (ends[0][0], ends[0][1], ends[0][2]) if ends else scope.last
        window = Scope(scope.first, end).params()
        rows = yield Statement(
            self.texts.sifted, {**window, **sifting, "now_us": now_us, "scan": count}
        )
        found = [Candidate(row[0], tuple(row[1:])) for row in rows]
        if len(rows) == count:
            return Stretch(found, False, max(count, _WINDOW_COST))
        if ends:
            found.append(Candidate(None, end))
        return Stretch(found, not ends, max(len(rows), _WINDOW_COST))

    def _in_order(
        self, pipelines: Sequence[str], after: Place | None, count: int
    ) -> Program[Stretch]:
        """The next candidates of all these pipelines in one order, by lag or by the newest change."""
        each = max(1, count if len(pipelines) == 1 else 2 * count // max(1, len(pipelines)))
        place, tie = after or (_BEGINNING, _BEGINNING)
        at: dict[str, SqlValue] = {"at_place": place, "at_key_id": tie, "scan": each}
        found: list[Candidate] = []
        seen_to: Place | None = None
        looked = 0
        for pipeline in pipelines:
            name = self.texts.by_lag if self.order == "lag" else self.texts.by_update
            rows = yield Statement(name, {**at, "pipeline": pipeline})
            looked += len(rows)
            found += [Candidate(row[0], (row[1], row[2])) for row in rows]
            if len(rows) == each:
                last = found[-1].place
                seen_to = last if seen_to is None else min(seen_to, last)
        found.sort(key=lambda candidate: candidate.place)
        if seen_to is not None:
            found = [candidate for candidate in found if candidate.place <= seen_to]
        return Stretch(found, seen_to is None, looked)

    @abstractmethod
    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        """What is known of these candidates, by their keys' numbers."""


def listed(roster: _Roster, where: Filter, limit: int, after: str | None) -> Program[Listing[Any]]:
    """A page of the roster. What is few is read as a whole and put in order, however rare it is."""
    if roster.order != "key" and roster.is_small:
        known = yield from _all(roster)
        if known is not None:
            return _ordered(roster, known, where, limit, after)
    return (yield from page(roster, where, limit, after))


def _all(roster: _Roster) -> Program[dict[int, Found] | None]:
    """Everything that the walk by keys finds; None if that is too much."""
    yield Statement("recovery.begin")
    stretch = yield from roster.by_keys(None, BUDGET)
    if not stretch.is_end:
        return None
    real = [candidate for candidate in stretch.candidates if candidate.number is not None]
    return (yield from roster.learn(real)) if real else {}


def _ordered(
    roster: _Roster, known: Mapping[int, Found], where: Filter, limit: int, after: str | None
) -> Listing[Any]:
    places: dict[Place, Found] = {}
    for number, each in known.items():
        place = each.head_us if roster.order == "lag" else each.slot
        if place is not None and where.matches(each.values):
            places[place, number] = each
    begin = place_of(after, roster.name)
    order = sorted(place for place in places if begin is None or place > begin)
    rows = tuple(places[place].row() for place in order[:limit])
    more = text_of(order[limit - 1], roster.name) if len(order) > limit else None
    return Listing(rows, more)


def _pipelines(scope: Scope) -> Program[list[str]]:
    if scope.first[0] == scope.last[0]:
        return [scope.first[0]]
    return (yield from pipelines())


def pipelines() -> Program[list[str]]:
    """The names of all pipelines, in order."""
    rows = yield Statement("listing.pipelines")
    return [name for (name,) in rows]


class Entities(_Roster):
    """Entities that have a row of their own: somebody took a lease on them, or saved a state."""

    texts = ENTITIES

    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        ids = _ids(c.number for c in candidates if c.number is not None)
        rows = yield Statement("listing.entities", ids)
        leases = yield from _held(ids)
        facts = [EntityFacts(*row) for row in rows]
        quarantined: dict[int, int] = {}
        if any(each.failures for each in facts):
            quarantined = dict((yield Statement("listing.quarantined_beneath", ids)))
        return {
            each.key_id: of_entity(
                each, leases.get(each.key_id, []), quarantined.get(each.key_id, 0)
            )
            for each in facts
        }


class Streams(_Roster):
    """Streams, and what else was saved at a key of three parts."""

    texts = STREAMS

    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        rows = yield Statement(
            "listing.streams", _ids(c.number for c in candidates if c.number is not None)
        )
        facts = [StreamFacts(*row) for row in rows]
        entities = {each.entity_id for each in facts if each.entity_id is not None}
        leases = yield from _held(_ids(entities))
        put_aside = [each.key_id for each in facts if each.failures]
        quarantined: dict[int, int] = {}
        if put_aside:
            quarantined = dict((yield Statement("listing.quarantined", _ids(put_aside))))
        return {
            each.key_id: of_stream(
                each, leases.get(each.entity_id or 0, []), quarantined.get(each.key_id, 0)
            )
            for each in facts
        }


def _held(ids: dict[str, SqlValue]) -> Program[dict[int, list[Lease]]]:
    rows = yield Statement("listing.held", ids)
    found: dict[int, list[Lease]] = {}
    for lease in (Lease(*row) for row in rows):
        found.setdefault(lease.key_id, []).append(lease)
    return found


def _ids(numbers: Iterable[int]) -> dict[str, SqlValue]:
    return {"ids": msgspec.json.encode(sorted(numbers)).decode()}
