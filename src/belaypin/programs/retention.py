"""Retention: what may be dropped, kind by kind, each in small steps of one transaction.

``KINDS`` is all of them. To add one, write a program that takes a Task and the place where its last
step stopped, does (or, on a dry run, only counts) one step of at most ``task.limit`` rows, and
returns a Step; then name it in ``KINDS``. Nothing may be dropped that prevents a duplicate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs import audit, operations, outbox, upkeep
from belaypin.records.retention import Retention
from belaypin.times import MIN_US

__all__ = ["KINDS", "Kind", "Place", "Step", "Task"]

Place = tuple[SqlValue, ...]
"""How far a kind has come; an empty one is its beginning."""

_LOWEST = -(2**63)


class Task(NamedTuple):
    """What every step is told."""

    policy: Retention
    now_us: int
    limit: int
    """Rows that one step may drop."""
    dry_run: bool
    actor: str

    def before_us(self, field: str) -> int:
        """The time before which what the policy's ``field`` names may go."""
        return self.policy.before_us(field, self.now_us)


class Step(NamedTuple):
    """What one step has dropped, or would drop, and where the next begins; None: that was all."""

    rows: int
    bytes: int
    next: Place | None


class Kind(NamedTuple):
    """One sort of rows that may be dropped."""

    name: str
    step: Callable[[Task, Place], Program[Step]]


_END = Step(0, 0, None)

_ORPHANS = {
    "segments": "retention.orphans_segments",
    "coverage": "retention.orphans_coverage",
    "leases": "retention.orphans_leases",
    "history": "retention.orphans_history",
    "savepoints": "retention.orphans_savepoints",
}


def segments(task: Task, place: Place) -> Program[Step]:
    """Segments that lie wholly below their stream's replay horizon.

    The stream's row is locked, so no commit takes place meanwhile; and what is below the horizon is
    refused under that same lock. So what is forgotten here can't come back as new.
    """
    after = place[0] if place else _LOWEST
    if not task.policy.ledger:
        return _END
    found = yield Statement("retention.segments_next", {"after": after, "never_us": MIN_US})
    if not found:
        return _END
    key_id, *name, rows, size = found[0]
    if task.dry_run:
        return Step(rows, size, (key_id,))
    (generation, _, horizon_us), *_ = yield Statement("retention.lock", {"key_id": key_id})
    where = {"key_id": key_id, "generation": generation, "horizon_us": horizon_us}
    gone = yield Statement("retention.segments_drop", {**where, "limit": task.limit})
    ids = sum(items for items, _ in gone)
    yield Statement("retention.segments_tell", {"key_id": key_id, "items": ids})
    detail = {"segments": len(gone), "items": ids, "below_us": horizon_us}
    yield from audit.note(task.actor, "forget", Key(*name), detail)
    return Step(len(gone), sum(size for _, size in gone), (key_id if rows <= len(gone) else after,))


def generations(task: Task, place: Place) -> Program[Step]:
    """Segments and coverage of generations that ended long ago."""
    after = place[0] if place else _LOWEST
    before = {"before_us": task.before_us("generations")}
    found = yield Statement("retention.generations_next", {"after": after, **before})
    if not found:
        return _END
    key_id, generation, segments, intervals, size = found[0]
    if task.dry_run:
        return Step(segments + intervals, size, (key_id,))
    where = {"key_id": key_id, "generation": generation, "limit": task.limit}
    gone = yield Statement("retention.generations_drop_segments", where)
    left = task.limit - len(gone)
    past = yield Statement("retention.generations_drop_coverage", {**where, "limit": left})
    rows = len(gone) + len(past)
    next_after = key_id if segments + intervals <= rows else after
    return Step(rows, sum(size for (size,) in gone), (next_after,))


def entries(task: Task, place: Place) -> Program[Step]:
    """Entries of the audit that are too old, or too many."""
    keep, beyond = task.policy.audit_entries, 0
    if keep is not None:
        ((beyond,),) = yield Statement("retention.audit_beyond", {"keep": keep})
    after = place[0] if place else _LOWEST
    where = {"after": after, "before_us": task.before_us("audit"), "beyond": beyond}
    return (yield from _by_number(task, "retention.audit_span", "retention.audit_drop", where))


def samples(task: Task, place: Place) -> Program[Step]:
    """Samples of health, thinned with age, one pipeline after the other."""
    pipeline, after = place or ("", _LOWEST)
    where = {
        "pipeline": pipeline,
        "after": after,
        "hourly_us": task.before_us("samples"),
        "daily_us": task.before_us("samples_hourly"),
        "ends_us": task.before_us("samples_daily"),
    }
    step = yield from _by_number(task, "retention.samples_span", "retention.samples_drop", where)
    if step.next is not None:
        return step._replace(next=(pipeline, *step.next))
    ((following,),) = yield Statement("retention.samples_pipeline", {"pipeline": pipeline})
    return step._replace(next=None if following is None else (following, _LOWEST))


def results(task: Task, place: Place) -> Program[Step]:
    """Results of operations whose time is over; that they were done stays."""
    skip = place[0] if place else 0
    where = {"limit": task.limit, "skip": skip}
    ((rows, size),) = yield Statement("retention.results_span", where)
    if not rows:
        return _END
    if task.dry_run:
        return Step(rows, size, (skip + rows,))
    gone = yield from operations.drop_expired_results(task.limit)
    return Step(gone, size, (0,))


def attempts(task: Task, place: Place) -> Program[Step]:
    """Attempts at operations that have been done since."""
    after_id, after_attempt = place or ("", 0)
    where = {"after_id": after_id, "after_attempt": after_attempt}
    before = {"before_us": task.before_us("attempts")}
    rows = yield Statement("retention.attempts_span", {**where, **before, "limit": task.limit})
    if not rows:
        return _END
    last_id, last_attempt, _ = rows[-1]
    if not task.dry_run:
        last = {"last_id": last_id, "last_attempt": last_attempt}
        yield Statement("retention.attempts_drop", {**where, **before, **last})
    return Step(len(rows), sum(size for _, _, size in rows), (last_id, last_attempt))


def messages(task: Task, place: Place) -> Program[Step]:
    """Messages that were delivered long ago, and with them their keys: only if that was asked for."""
    before_us = task.before_us("messages")
    where = {"before_us": before_us, "limit": task.limit, "skip": place[0] if place else 0}
    ((rows, size),) = yield Statement("retention.messages_span", where)
    if not rows:
        return _END
    if task.dry_run:
        return Step(rows, size, (where["skip"] + rows,))
    gone = yield from outbox.drop_delivered(task.now_us - before_us, task.limit)
    return Step(gone, size, (0,))


def orphans(task: Task, place: Place) -> Program[Step]:
    """Records whose key is gone."""
    after = place[0] if place else _LOWEST
    if not task.policy.orphans:
        return _END
    found, beyond = yield from upkeep.orphan_page(int(after or 0))
    if task.dry_run or not found:
        rows = sum(each.records for each in found)
        return Step(rows, 0, None if beyond is None else (beyond,))
    rows, size = 0, 0
    for table, key_id in {(each.what, each.key_id) for each in found}:
        if rows < task.limit:
            where: dict[str, SqlValue] = {"key_id": key_id}
            if table != "leases":
                where["limit"] = task.limit - rows
            gone = yield Statement(_ORPHANS[table], where)
            rows += len(gone)
            size += sum(row[0] for row in gone if table == "segments")
    return Step(rows, size, (after,))


KINDS: tuple[Kind, ...] = (
    Kind("segments", segments),
    Kind("generations", generations),
    Kind("samples", samples),
    Kind("audit", entries),
    Kind("results", results),
    Kind("attempts", attempts),
    Kind("messages", messages),
    Kind("orphans", orphans),
)


def _by_number(task: Task, span: str, drop: str, where: dict[str, SqlValue]) -> Program[Step]:
    """A step through rows in the order of a number, by these two statements."""
    spans = yield Statement(span, {**where, "limit": task.limit})
    last, rows, size = spans[0]
    if not rows:
        return _END
    if not task.dry_run:
        gone = yield Statement(drop, {**where, "last": last})
        rows, size = len(gone), sum(each for (each,) in gone)
    return Step(rows, size, (last,))
