"""Standing: how entities and streams stand, from their rows and leases, as rows of a listing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from belaypin.keys import Key
from belaypin.programs.walks import Found
from belaypin.records.listing import EntityRow, StreamRow
from belaypin.records.status import StatusWord
from belaypin.times import from_us

__all__ = ["SLOT_US", "EntityFacts", "Lease", "StreamFacts", "of_entity", "of_stream"]

SLOT_US = 10_000_000
"""How finely the newest change is ordered: as migration 12 has it."""


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
    live_from_us: int | None
    live_to_us: int | None

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


def of_entity(facts: EntityFacts, leases: Sequence[Lease], quarantined: int) -> Found:
    """What is known of an entity."""
    lag_us = None if facts.head_us is None else facts.now_us - facts.head_us
    word = facts.word(leases)
    values = {
        "pipeline": facts.pipeline,
        "entity": facts.entity,
        "gaps": facts.gaps,
        **_values(facts, word, lag_us, leases),
    }
    row = partial(_entity_row, facts, word, lag_us, leases, quarantined)
    return Found(row, values, facts.head_us, -(facts.updated_us // SLOT_US))


def _entity_row(
    facts: EntityFacts,
    word: StatusWord,
    lag_us: int | None,
    leases: Sequence[Lease],
    quarantined: int,
) -> EntityRow:
    lag_key = None
    if facts.lag_stream is not None:
        lag_key = Key(facts.pipeline, facts.entity, facts.lag_stream)
    return EntityRow(
        key=Key(facts.pipeline, facts.entity),
        status=word,
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


def of_stream(facts: StreamFacts, leases: Sequence[Lease], quarantined: int) -> Found:
    """What is known of a stream."""
    lag_us = None
    if facts.head_us is not None and facts.completed_us is None:
        lag_us = facts.now_us - facts.head_us
    gaps = max(0, facts.intervals - 1)
    word = facts.word(leases)
    values = {
        "pipeline": facts.pipeline,
        "entity": facts.entity,
        "stream": facts.stream,
        "gaps": gaps,
        **_values(facts, word, lag_us, leases),
    }
    row = partial(_stream_row, facts, word, lag_us, gaps, quarantined)
    head_us = facts.head_us if lag_us is not None else None
    return Found(row, values, head_us, -(facts.updated_us // SLOT_US))


def _stream_row(
    facts: StreamFacts, word: StatusWord, lag_us: int | None, gaps: int, quarantined: int
) -> StreamRow:
    return StreamRow(
        key=Key(facts.pipeline, facts.entity, facts.stream),
        status=word,
        items=facts.items,
        skipped=facts.skipped,
        changed=facts.changed,
        late=facts.late,
        too_late=facts.too_late,
        stale=facts.stale,
        failures=facts.failures - quarantined,
        quarantined=quarantined,
        gaps=gaps,
        head=_moment(facts.head_us),
        lag=_length(lag_us),
        covered_from=_moment(facts.covered_us),
        live_from=_moment(facts.live_from_us),
        live_to=_moment(facts.live_to_us),
        is_open=bool(facts.is_open),
        processor=facts.processor,
        updated_at=from_us(facts.updated_us),
        version=facts.version,
    )


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


def _moment(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
