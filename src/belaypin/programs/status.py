"""Status: a Key's word and counts, rolled up from the rows in short reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from belaypin.keys import Key
from belaypin.program import Program, Row, Rows, Statement
from belaypin.programs.parts import Sums, each_part
from belaypin.programs.scope import Scope
from belaypin.records.status import Status, StatusWord, worst
from belaypin.times import from_us

__all__ = ["read"]


def read(key: Key) -> Program[Status]:
    """How the Key stands. The statements are of one snapshot if the transaction is."""
    yield Statement("recovery.begin")  # few rows at a time: look each of them up
    now_us = (yield Statement("clock.now"))[0][0]
    whole = Scope.of(key.pipeline, key.entity or None).params()
    own = yield Statement(
        "status.own", {"pipeline": key.pipeline, "entity": key.entity, "stream": key.stream}
    )
    one = (key.pipeline, key.entity, key.stream)
    beneath = Scope(one, one).params() if key.stream else whole
    fields: dict[str, Any] = {"gaps": (yield Statement("status.gaps", beneath))[0][0]}
    if key.entity:
        heads = yield Statement("status.head", beneath)
    else:
        heads = yield Statement("status.head_of_pipeline", {"pipeline": key.pipeline})
    fields |= _lag(heads, now_us)
    sums, finished = yield from _summed(Scope.of(key.pipeline, key.entity or None))
    busy = yield Statement("status.busy", whole)
    fields |= _error((yield Statement("status.error", whole)))
    if key.entity and own:
        fields |= _own(own[0])
    if key.stream:
        fields |= _stream(busy, own)
    else:
        fields |= _rolled_up(key, sums, busy, finished, is_stored=bool(own))
    return Status(key=key, at=from_us(now_us), **fields)


def _summed(scope: Scope) -> Program[tuple[_Totals, int]]:
    """The totals over all rows, and how many entities are complete with nothing open."""
    totals, finished = Sums(len(_Totals._fields)), 0

    def read(part: Scope) -> Program[None]:
        nonlocal finished
        row = (yield Statement("status.rows", part.params()))[0]
        totals.add(row)
        found = _Totals(*row)
        if found.complete or found.own_complete:
            finished += (yield Statement("status.complete", part.params()))[0][0]

    yield from each_part(scope, read)
    return _Totals(*totals.row), finished


class _Totals(NamedTuple):
    """Over all rows of a pipeline or an entity."""

    entities: int
    streams: int
    complete: int
    own_complete: int
    open_windows: int
    items: int
    skipped: int
    changed: int
    late: int


def _rolled_up(
    key: Key, sums: _Totals, busy: Rows, finished: int, *, is_stored: bool
) -> dict[str, Any]:
    """The words of the entities that are busy, and of those that are not."""
    words: dict[str, int] = {}
    streams: dict[str, int] = {}
    for word, begun_word, count, begun, _ in busy:
        _add(words, word, count)
        _add(streams, begun_word, begun)
    _add(words, "open", sums.entities - sum(row[2] for row in busy) - finished)
    _add(words, "complete", finished)
    _add(streams, "open", sums.streams - sums.complete - sum(row[3] for row in busy))
    _add(streams, "complete", sums.complete)
    is_there = is_stored or bool(sums.streams)
    status: StatusWord = worst(words) if words else "open" if is_there else "absent"
    return {
        "items": sums.items,
        "skipped": sums.skipped,
        "changed": sums.changed,
        "late": sums.late,
        "open_windows": sums.open_windows,
        "live_leases": sum(row[4] for row in busy),
        "status": status,
        "entities": {} if key.entity else _sorted(words),
        "streams": _sorted(streams),
    }


def _stream(busy: Rows, own: Rows) -> dict[str, Any]:
    """A stream's own row; the word of its entity where a window is open."""
    live = sum(row[4] for row in busy)
    if not own:
        return {"status": "absent", "live_leases": live}
    _, items, skipped, changed, late, completed_us, is_open, *_ = own[0]
    word: StatusWord = "open"
    if completed_us is not None:
        word = "complete"
    elif is_open:
        word = busy[0][1]
    counts = {"items": items, "skipped": skipped, "changed": changed, "late": late}
    return {
        **counts,
        "status": word,
        "streams": {word: 1},
        "open_windows": is_open,
        "live_leases": live,
    }


def _own(row: Row) -> dict[str, Any]:
    attempts, failed_runs, idle, priority, quarantined_us, reason = row[7:]
    return {
        "attempts": attempts,
        "failed_runs": failed_runs or 0,
        "idle_attempts": idle or 0,
        "priority": priority or 0,
        "quarantined_at": None if quarantined_us is None else from_us(quarantined_us),
        "quarantine_reason": reason,
    }


def _lag(heads: Rows, now_us: int) -> dict[str, Any]:
    if not heads:
        return {}
    head_us, *parts = heads[0]
    return {"lag": from_us(now_us) - from_us(head_us), "lag_key": Key(*parts)}


def _error(rows: Rows) -> dict[str, Any]:
    if not rows:
        return {}
    pipeline, entity, error, failed_us, next_try_us = rows[0]
    return {
        "error": error,
        "error_key": Key(pipeline, entity),
        "failed_at": from_us(failed_us),
        "next_try_at": None if next_try_us is None else from_us(next_try_us),
    }


def _add(counts: dict[str, int], word: str, count: int) -> None:
    if count:
        counts[word] = counts.get(word, 0) + count


def _sorted(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
