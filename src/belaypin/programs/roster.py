"""The roster: entities and streams, each with what is known of it, in any of three orders."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from belaypin.filters import Filter
from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs.scope import Scope
from belaypin.programs.walks import Candidate, Found, Place
from belaypin.records.listing import EntityRow, StreamRow
from belaypin.records.status import StatusWord
from belaypin.times import from_us

__all__ = ["ENTITY_FIELDS", "STREAM_FIELDS", "Entities", "Order", "Streams", "narrowed"]

Order = Literal["key", "lag", "updated"]

STREAM_FIELDS = (
    *("pipeline", "entity", "stream", "state", "lag", "gaps", "items", "failures", "error", "role"),
    *("owner", "updated", "priority"),
)
ENTITY_FIELDS = tuple(name for name in STREAM_FIELDS if name != "stream")

_BEGINNING = -(2**63)


def narrowed(where: Filter, pipeline: str | None, entity: str | None = None) -> Scope | None:
    """The keys that a filter may pick at most; None: none at all."""
    pipelines = {
        term.text for term in where.of("pipeline") if term.operator == ":" and not term.is_prefix
    }
    if pipeline is not None:
        pipelines.add(pipeline)
    if len(pipelines) > 1:
        return None
    name = next(iter(pipelines), None)
    if name is None:
        return Scope.of(None, None)
    entities = {
        term.text for term in where.of("entity") if term.operator == ":" and not term.is_prefix
    }
    if entity is not None:
        entities.add(entity)
    if len(entities) > 1:
        return None
    return Scope.of(name, next(iter(entities), None))


class Lease(NamedTuple):
    """A lease that nobody has released."""

    key_id: int
    role: str
    owner: str
    ttl_us: int
    expires_us: int

    def is_live(self, now_us: int) -> bool:
        return now_us < self.expires_us <= now_us + 2 * self.ttl_us


class Trouble(NamedTuple):
    """What an entity's row says of its runs."""

    quarantined_us: int | None
    failed_us: int | None
    next_try_us: int | None

    def word(self, now_us: int) -> StatusWord | None:
        if self.failed_us is None:
            return None
        is_waiting = self.next_try_us is not None and self.next_try_us > now_us
        return "waiting" if is_waiting else "failed"


class _Roster:
    """What both walks share: three orders of a range of keys."""

    what: str

    def __init__(self, scope: Scope, order: Order) -> None:
        self.name = f"{self.what}:{order}"
        self._scope = scope
        self._order = order

    def step(self, after: Place | None, count: int) -> Program[list[Candidate]]:
        params: dict[str, SqlValue] = {**self._scope.params(), "scan": count}
        if self._order == "key":
            names = ("at_pipeline", "at_entity", "at_stream")
            params |= zip(names, after or ("", "", ""), strict=False)
            rows = yield Statement(_BY_KEY[self.what], params)
            return [Candidate(row[0], tuple(row[1:])) for row in rows]
        at = after or (_BEGINNING, _BEGINNING)
        params |= {"at_place": at[0], "at_key_id": at[1]}
        by = _BY_LAG if self._order == "lag" else _BY_UPDATE
        rows = yield Statement(by[self.what], params)
        return [Candidate(row[0], (row[1], row[0])) for row in rows]


_BY_KEY = {"entities": "listing.entities_by_key", "streams": "listing.streams_by_key"}
_BY_LAG = {"entities": "listing.entities_by_lag", "streams": "listing.streams_by_lag"}
_BY_UPDATE = {"entities": "listing.entities_by_update", "streams": "listing.streams_by_update"}


class EntityFacts(NamedTuple):
    """An entity's row, and its streams rolled up."""

    key_id: int
    pipeline: str
    entity: str
    attempts: int
    error: str | None
    priority: int
    quarantined_us: int | None
    failed_us: int | None
    next_try_us: int | None
    completed_us: int | None
    items: int
    skipped: int
    changed: int
    late: int
    failures: int
    updated_us: int
    streams: int
    complete: int
    begun: int
    now_us: int
    gaps: int
    head_us: int | None
    lag_stream: str | None

    def word(self, leases: Sequence[Lease]) -> StatusWord:
        """The word of ``store.status``; docs/explanation/recovery.md has the order."""
        if self.quarantined_us is not None:
            return "quarantined"
        if any(lease.is_live(self.now_us) for lease in leases):
            return "working"
        trouble = Trouble(self.quarantined_us, self.failed_us, self.next_try_us).word(self.now_us)
        if trouble is not None:
            return trouble
        if self.begun or leases:
            return "interrupted"
        is_whole = self.streams > 0 and self.complete == self.streams
        return "complete" if self.completed_us is not None or is_whole else "open"


class Entities(_Roster):
    """Entities that have a row of their own: somebody took a lease on them, or saved a state."""

    what = "entities"

    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        ids = _ids(candidate.number for candidate in candidates)
        rows = yield Statement("listing.entities", ids)
        leases = yield from _held(ids)
        facts = [EntityFacts(*row) for row in rows]
        quarantined: dict[int, int] = {}
        if any(each.failures for each in facts):
            quarantined = dict((yield Statement("listing.quarantined_beneath", ids)))
        return {
            each.key_id: _entity(each, leases.get(each.key_id, []), quarantined.get(each.key_id, 0))
            for each in facts
        }


class StreamFacts(NamedTuple):
    """A stream's row, and what its entity's says."""

    key_id: int
    pipeline: str
    entity: str
    stream: str
    entity_id: int | None
    items: int
    skipped: int
    changed: int
    late: int
    too_late: int
    stale: int
    failures: int
    is_open: int
    completed_us: int | None
    processor: int
    updated_us: int
    version: int
    error: str | None
    priority: int | None
    quarantined_us: int | None
    failed_us: int | None
    next_try_us: int | None
    now_us: int
    intervals: int
    head_us: int | None
    covered_us: int | None

    def word(self, leases: Sequence[Lease]) -> StatusWord:
        """The word of ``store.status``: that of its entity where a window is open."""
        if self.completed_us is not None:
            return "complete"
        if not self.is_open:
            return "open"
        if any(lease.is_live(self.now_us) for lease in leases):
            return "working"
        if self.quarantined_us is not None:
            return "quarantined"
        trouble = Trouble(self.quarantined_us, self.failed_us, self.next_try_us).word(self.now_us)
        return trouble or "interrupted"


class Streams(_Roster):
    """Streams, and what else was saved at a key of three parts."""

    what = "streams"

    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        rows = yield Statement("listing.streams", _ids(c.number for c in candidates))
        facts = [StreamFacts(*row) for row in rows]
        entities = {each.entity_id for each in facts if each.entity_id is not None}
        leases = yield from _held(_ids(entities))
        put_aside = [each.key_id for each in facts if each.failures]
        quarantined: dict[int, int] = {}
        if put_aside:
            quarantined = dict((yield Statement("listing.quarantined", _ids(put_aside))))
        return {
            each.key_id: _stream(
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


def _entity(facts: EntityFacts, leases: Sequence[Lease], quarantined: int) -> Found:
    lag_us = None if facts.head_us is None else facts.now_us - facts.head_us
    lag_key = None
    if facts.lag_stream is not None:
        lag_key = Key(facts.pipeline, facts.entity, facts.lag_stream)
    row = EntityRow(
        key=Key(facts.pipeline, facts.entity),
        status=facts.word(leases),
        streams=facts.streams,
        items=facts.items,
        skipped=facts.skipped,
        changed=facts.changed,
        late=facts.late,
        failures=facts.failures - quarantined,
        quarantined=quarantined,
        gaps=facts.gaps,
        lag=_length(lag_us),
        lag_key=lag_key,
        attempts=facts.attempts,
        error=facts.error,
        updated_at=from_us(facts.updated_us),
        priority=facts.priority,
        live_leases=sum(lease.is_live(facts.now_us) for lease in leases),
    )
    values = {"pipeline": facts.pipeline, "entity": facts.entity, "gaps": facts.gaps}
    return Found(row, values | _values(facts, row.status, lag_us, leases))


def _stream(facts: StreamFacts, leases: Sequence[Lease], quarantined: int) -> Found:
    lag_us = None
    if facts.head_us is not None and facts.completed_us is None:
        lag_us = facts.now_us - facts.head_us
    gaps = max(0, facts.intervals - 1)
    row = StreamRow(
        key=Key(facts.pipeline, facts.entity, facts.stream),
        status=facts.word(leases),
        items=facts.items,
        skipped=facts.skipped,
        changed=facts.changed,
        late=facts.late,
        too_late=facts.too_late,
        stale=facts.stale,
        failures=facts.failures - quarantined,
        quarantined=quarantined,
        gaps=gaps,
        head=None if facts.head_us is None else from_us(facts.head_us),
        lag=_length(lag_us),
        covered_from=None if facts.covered_us is None else from_us(facts.covered_us),
        is_open=bool(facts.is_open),
        processor=facts.processor,
        updated_at=from_us(facts.updated_us),
        version=facts.version,
    )
    names = {"pipeline": facts.pipeline, "entity": facts.entity, "stream": facts.stream}
    return Found(row, {**names, "gaps": gaps, **_values(facts, row.status, lag_us, leases)})


def _values(
    facts: EntityFacts | StreamFacts, word: str, lag_us: int | None, leases: Sequence[Lease]
) -> dict[str, Any]:
    return {
        "state": word,
        "lag": lag_us,
        "items": facts.items,
        "failures": facts.failures,
        "error": facts.error,
        "role": [lease.role for lease in leases],
        "owner": [lease.owner for lease in leases],
        "updated": facts.now_us - facts.updated_us,
        "priority": facts.priority or 0,
    }


def _length(us: int | None) -> timedelta | None:
    return None if us is None else timedelta(microseconds=us)


def _ids(numbers: Iterable[int]) -> dict[str, SqlValue]:
    return {"ids": msgspec.json.encode(sorted(numbers)).decode()}
