"""Status: a Key's word and counts, rolled up from the rows in one short read."""

from __future__ import annotations

from typing import Any

from belaypin.keys import Key
from belaypin.program import Program, Row, Rows, Statement
from belaypin.programs.pages import NO_WINDOWS
from belaypin.programs.upkeep import Scope
from belaypin.status import Status, StatusWord, worst
from belaypin.times import from_us

__all__ = ["read"]


def read(key: Key) -> Program[Status]:
    """How the Key stands. The statements are of one snapshot if the transaction is."""
    now_us = (yield Statement("clock.now"))[0][0]
    whole = Scope.of(key.pipeline, key.entity or None).params()
    rows = yield Statement("status.entities", whole)
    own = yield Statement(
        "status.own", {"pipeline": key.pipeline, "entity": key.entity, "stream": key.stream}
    )
    one = (key.pipeline, key.entity, key.stream)
    beneath = Scope(one, one).params() if key.stream else whole
    coverage = yield Statement("status.coverage", beneath)
    errors = yield Statement("status.error", whole)
    fields = {**_coverage(coverage, now_us), **_error(errors)}
    if key.entity and own:
        fields |= _own(own[0])
    if key.stream:
        fields |= _stream(rows, own)
    else:
        fields |= _rolled_up(key, rows, is_stored=bool(own))
    return Status(key=key, at=from_us(now_us), **fields)


def _rolled_up(key: Key, rows: Rows, *, is_stored: bool) -> dict[str, Any]:
    """The sums over entities, which come as groups that share their two words."""
    entities: dict[str, int] = {}
    streams: dict[str, int] = {}
    sums = [0] * 6
    for word, begun_word, count, total, complete, begun, *counts in rows:
        _add(entities, word, count)
        _add(streams, begun_word, begun)
        _add(streams, "complete", complete)
        _add(streams, "open", total - complete - begun)
        sums = [a + b for a, b in zip(sums, counts, strict=True)]
    names = ("open_windows", "live_leases", "items", "skipped", "changed", "late")
    word = worst(entities)
    return {
        **dict(zip(names, sums, strict=True)),
        "status": "open" if word == "absent" and is_stored else word,
        "entities": {} if key.entity else _sorted(entities),
        "streams": _sorted(streams),
    }


def _stream(rows: Rows, own: Rows) -> dict[str, Any]:
    """A stream's own row; the word of its entity where a window is open."""
    live = sum(row[7] for row in rows)
    if not own:
        return {"status": "absent", "live_leases": live}
    _, items, skipped, changed, late, completed_us, progress, *_ = own[0]
    is_open = progress != NO_WINDOWS
    word: StatusWord = "open"
    if completed_us is not None:
        word = "complete"
    elif is_open:
        word = rows[0][1]
    counts = {"items": items, "skipped": skipped, "changed": changed, "late": late}
    return {
        **counts,
        "status": word,
        "streams": {word: 1},
        "open_windows": int(is_open),
        "live_leases": live,
    }


def _own(row: Row) -> dict[str, Any]:
    attempts, failures, idle, priority, quarantined_us, reason = row[7:]
    return {
        "attempts": attempts,
        "failures": failures or 0,
        "idle_attempts": idle or 0,
        "priority": priority or 0,
        "quarantined_at": None if quarantined_us is None else from_us(quarantined_us),
        "quarantine_reason": reason,
    }


def _coverage(rows: Rows, now_us: int) -> dict[str, Any]:
    if not rows:
        return {}
    gaps, head_us, *parts = rows[0]
    if head_us is None:
        return {"gaps": gaps}
    return {"gaps": gaps, "lag": from_us(now_us) - from_us(head_us), "lag_key": Key(*parts)}


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
