"""Recovery: what a plan reads and makes of it, and the steps that the store can do by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from belaypin.errors import CorruptRecord
from belaypin.keys import Key
from belaypin.program import Program, Rows, SqlValue, Statement
from belaypin.programs import audit, checkpoints, history, leases, operations, runs
from belaypin.programs.pages import OpenWindow
from belaypin.programs.scope import Scope
from belaypin.records.plan import Plan, Step, StepKind
from belaypin.records.reports import Report
from belaypin.times import from_us

__all__ = [
    "NOBODY",
    "UNREADABLE",
    "Facts",
    "fence",
    "lapse",
    "plan",
    "prioritise",
    "progressed",
    "quarantine",
    "read",
    "readmit",
    "repair",
]

MOST_ROWS = 100_000
"""As many of each sort are read for one plan, the most important first."""

_SAMPLE = 1_000
UNREADABLE = "window-unreadable"
OPEN_FLAG = "open-flag"
NOBODY = "nobody"
"""Who owns a lease whose dead holder was fenced."""

IsDead = Callable[[str], bool]


class Facts(NamedTuple):
    """What a plan is made of, as it stood at one moment."""

    now_us: int
    pipeline: str | None
    entities: list[Entity]
    operations: Rows
    quarantined: int
    typical_us: Mapping[str, int]
    """How long a run takes, by pipeline."""
    is_complete: bool


class Lease(NamedTuple):
    """A lease of an entity."""

    owner: str
    token: int
    ttl_us: int
    expires_us: int

    def is_live(self, now_us: int, is_dead: IsDead) -> bool:
        """Whether somebody holds it; one from before the clock was set back counts as expired."""
        in_time = now_us < self.expires_us <= now_us + 2 * self.ttl_us
        return in_time and not is_dead(self.owner)


class Waiting(NamedTuple):
    """Items of a stream that failed: how many, and when the first of them is due."""

    stream: str
    items: int
    due_us: int


class Entity:
    """An entity with open work: its own row, its leases by role, its streams with open windows."""

    __slots__ = (
        "busy_us",
        "deaths",
        "error",
        "failed_role",
        "failed_runs",
        "failed_us",
        "items",
        "key",
        "leases",
        "next_try_us",
        "priority",
        "runs",
        "streams",
    )

    def __init__(self, row: tuple[Any, ...]) -> None:
        pipeline, entity, self.priority, self.failed_runs, self.failed_us, *rest = row
        self.failed_role, self.error, self.next_try_us, self.runs, self.busy_us = rest
        self.deaths = 0
        self.items: dict[str, list[Waiting]] = {}
        self.key = Key(pipeline, entity)
        self.leases: dict[str, Lease] = {}
        self.streams: dict[str, tuple[str, int | None]] = {}


def read(pipeline: str | None, deaths: int) -> Program[Facts]:
    """Read what is open. ``deaths``: so many in a row without a commit are too many."""
    now_us = (yield Statement("clock.now"))[0][0]
    first, last = Scope.of(pipeline, None)
    here = {"pipeline": first[0], "last_pipeline": last[0]}
    yield Statement("recovery.begin")
    most: dict[str, SqlValue] = {**here, "most": MOST_ROWS + 1}
    windows = yield Statement("recovery.open", most)
    leased = yield Statement("recovery.leased", {**most, "deaths": deaths})
    failing = yield Statement("recovery.failing", most)
    items = yield Statement("recovery.items", most)
    entities = _entities(windows, leased, failing, items)
    unfinished: Rows = ()
    if pipeline is None:
        unfinished = yield Statement("recovery.operations", {"most": MOST_ROWS + 1})
    quarantined = yield Statement("recovery.quarantined", here)
    typical_us: dict[str, int] = {}
    for name in sorted({e.key.pipeline for e in entities if not e.runs}):
        sums = yield Statement("recovery.typical", {"pipeline": name, "sample": _SAMPLE})
        if sums[0][1]:
            typical_us[name] = sums[0][0] // sums[0][1]
    return Facts(
        now_us,
        pipeline,
        entities,
        unfinished,
        quarantined[0][0],
        typical_us,
        max(map(len, (windows, leased, failing, items, unfinished))) <= MOST_ROWS,
    )


def plan(facts: Facts, is_dead: IsDead, findings: Report | None, limit: int | None) -> Plan:
    """The steps, in order. ``is_dead`` tells whether a lease's owner has surely died."""
    steps = [step for entity in facts.entities for step in _steps(entity, facts, is_dead)]
    steps += _operation_steps(facts, is_dead)
    seen = {step.key for step in steps if step.finding == UNREADABLE}
    steps += [s for s in _repairs(findings) if s.finding != UNREADABLE or s.key not in seen]
    return Plan.of(
        steps,
        at=from_us(facts.now_us),
        pipeline=facts.pipeline,
        limit=limit,
        quarantined=facts.quarantined,
        is_complete=facts.is_complete,
    )


def quarantine(step: Step, reason: str, actor: str, dead_owner: str | None) -> Program[bool]:
    """Put an entity aside, unless somebody has taken its lease since the plan was made."""
    assert step.key is not None
    key_id = yield from checkpoints.find(step.key)
    if key_id is None:
        return False
    if not (yield from leases.fence_off(key_id, step.role, step.token, dead_owner)):
        return False
    rows = yield Statement(
        "recovery.quarantine", {"key_id": key_id, "reason": reason, "role": step.role}
    )
    if rows:
        detail = {"role": step.role, "reason": reason}
        yield from audit.note(actor, "quarantine", step.key, detail)
    return bool(rows)


def readmit(key: Key, actor: str) -> Program[bool]:
    """Forget that an entity failed, died or was put aside; False if it is not known."""
    key_id = yield from checkpoints.find(key)
    if key_id is None:
        return False
    yield from runs.clear(key_id)
    yield from audit.note(actor, "readmit", key, {})
    return True


def prioritise(key: Key, priority: int) -> Program[None]:
    """Set how important an entity is to plans."""
    key_id = yield from checkpoints.ensure(key)
    yield Statement("recovery.prioritise", {"key_id": key_id, "priority": priority})


def repair(key: Key, finding: str | None, actor: str) -> Program[bool | None]:
    """Repair what can be repaired without loss: whether it was damaged still; None: it can't be."""
    if finding == UNREADABLE:
        return (yield from _close_windows(key, actor))
    if finding == OPEN_FLAG:
        return (yield from _turn(key, actor))
    if finding == "state-corrupt":
        return (yield from _restore_state(key, actor))
    return None


def fence(step: Step, dead_owner: str | None) -> Program[bool]:
    """See to it that the dead worker of a step can't write any more."""
    assert step.key is not None
    key_id = yield from checkpoints.find(step.key)
    if key_id is None:
        return False
    return (yield from leases.fence_off(key_id, step.role, step.token, dead_owner))


def lapse(step: Step, dead_owner: str | None) -> Program[bool]:
    """Count the attempt of an abandoned operation as failed, if it still is the same one."""
    assert step.operation_id is not None
    error = f"abandoned: {step.owner} died, or stood still for longer than its time"
    return (yield from operations.lapse(step.operation_id, step.token, dead_owner, error))


def progressed(key: Key) -> Program[bool]:
    """Whether anything was committed in the entity since its lease was last taken."""
    key_id = yield from checkpoints.find(key)
    return key_id is not None and (yield from runs.has_progressed(key_id))


def _close_windows(key: Key, actor: str) -> Program[bool]:
    """Close the windows of a stream if they can't be read, and have its work run again."""
    rows = yield Statement("recovery.stream", checkpoints.named(key))
    if not rows or _roles(rows[0][1]) is not None:
        return False
    key_id, progress, entity_id, role = rows[0]
    if role is not None and entity_id < key_id:
        yield from _run_again(entity_id, role, key)
    closed = yield Statement("recovery.close", {"key_id": key_id, "progress": progress})
    if role is not None and entity_id > key_id:  # rows are locked in one order by everybody
        yield from _run_again(entity_id, role, key)
    if closed:
        yield from audit.note(actor, "repair", key, {"finding": UNREADABLE, "was": f"{progress}"})
    return bool(closed)


def _run_again(entity_id: int, role: str, key: Key) -> Program[None]:
    """Whose windows they were can't be read: the role of the newest lease is as good as any."""
    yield from runs.due(entity_id, role, f"the open windows of {key} could not be read")


def _turn(key: Key, actor: str) -> Program[bool]:
    key_id = yield from checkpoints.find(key)
    if key_id is not None:
        yield Statement("stream.turn", {"key_id": key_id})
        yield from audit.note(actor, "repair", key, {"finding": OPEN_FLAG})
    return key_id is not None


def _restore_state(key: Key, actor: str) -> Program[bool | None]:
    """Fall back to the newest version of a state that can be read; None if there is none."""
    try:
        return (yield from history.repair(actor, key)) is not None
    except CorruptRecord:
        return None


def _entities(windows: Rows, leased: Rows, failing: Rows, items: Rows) -> list[Entity]:
    entities: dict[int, Entity] = {}
    for row in (*windows, *leased, *failing, *items):
        entity = entities.get(row[0])
        if entity is None:
            entity = entities[row[0]] = Entity(row[1:11])
        role, *lease = row[11:16]
        if role is not None:
            entity.leases[role] = Lease(*lease)
    for row in windows:
        stream, progress, head_us = row[16:]
        entities[row[0]].streams[stream] = progress, head_us
    for row in leased:
        entities[row[0]].deaths = row[16]
    for row in items:
        entities[row[0]].items.setdefault(row[11], []).append(Waiting(*row[16:]))
    return list(entities.values())


def _steps(entity: Entity, facts: Facts, is_dead: IsDead) -> Iterator[Step]:
    """A step for each role with something to do that nobody is at."""
    begun: dict[str, list[str]] = {}
    for stream, (progress, _) in entity.streams.items():
        roles = _roles(progress)
        if roles is None:
            yield _unreadable(entity, stream)
        for role in roles or ():
            begun.setdefault(role, []).append(stream)
    dead = {role for role, lease in entity.leases.items() if lease.expires_us}
    failed = {entity.failed_role} if entity.failed_us is not None else set()
    for role in sorted({*begun, *dead, *failed, *entity.items}):
        lease = entity.leases.get(role)
        if lease is None or not lease.is_live(facts.now_us, is_dead):
            yield _step(entity, role, tuple(sorted(begun.get(role, ()))), lease, facts)


def _step(
    entity: Entity, role: str, streams: tuple[str, ...], lease: Lease | None, facts: Facts
) -> Step:
    has_died = lease is not None and lease.expires_us != 0
    kind, reason, due_us = _verdict(entity, role, streams, facts.now_us, has_died=has_died)
    heads = [entity.streams[stream][1] for stream in streams]
    known = [head for head in heads if head is not None]
    lag_us = facts.now_us - min(known) if known and len(known) == len(heads) else None
    typical_us = facts.typical_us.get(entity.key.pipeline)
    if entity.runs:
        typical_us = entity.busy_us // entity.runs
    return Step(
        kind=kind,
        reason=reason,
        key=entity.key,
        role=role,
        streams=streams,
        priority=entity.priority,
        lag=None if lag_us is None else timedelta(microseconds=lag_us),
        estimate=None if typical_us is None else timedelta(microseconds=typical_us),
        due_at=None if due_us is None else from_us(due_us),
        token=0 if lease is None else lease.token,
        owner=lease.owner if lease is not None and has_died else None,
    )


def _verdict(
    entity: Entity, role: str, streams: tuple[str, ...], now_us: int, *, has_died: bool
) -> tuple[StepKind, str, int | None]:
    """What is to be done, why, as a sentence, and not before when."""
    if entity.failed_us is not None and entity.failed_role == role:
        what = f"it failed {_times(entity.failed_runs)}, last with {entity.error}"
        if entity.next_try_us is None:
            return "quarantine", f"{what}; its policy has given it up.", None
        if entity.next_try_us > now_us:
            due = from_us(entity.next_try_us)
            return "wait", f"{what}; it is tried again at {due}.", entity.next_try_us
        if not has_died:
            return "retry", f"{what}; it is due.", None
    if entity.deaths and has_died:
        died = f"workers died {_times(entity.deaths)} before they committed anything."
        return "quarantine", died, None
    if streams:
        names = f"{streams[0]} and {len(streams) - 1} more" if len(streams) > 1 else streams[0]
        why = "its worker died" if has_died else "nobody is at it"
        reason = f"a window of {names} is open and {why}: go on at the committed page."
        return "resume", reason, None
    if has_died:
        reason = "its worker died with no window open: go on from what is committed."
        return "restart", reason, None
    return _items_verdict(entity.items[role], now_us)


def _items_verdict(waiting: list[Waiting], now_us: int) -> tuple[StepKind, str, int | None]:
    names = ", ".join(f"{found.items} of {found.stream}" for found in waiting)
    due_us = min(found.due_us for found in waiting)
    if due_us > now_us:
        return "wait", f"items failed ({names}); the first is due at {from_us(due_us)}.", due_us
    return "retry", f"items failed ({names}), and are due.", None


def _unreadable(entity: Entity, stream: str) -> Step:
    return Step(
        kind="repair",
        reason="its open windows can't be read: close them, and they begin at their first page.",
        key=entity.key.child(stream),
        priority=entity.priority,
        finding=UNREADABLE,
    )


def _operation_steps(facts: Facts, is_dead: IsDead) -> Iterator[Step]:
    for operation_id, status, owner, token, attempts, ttl_us, expires_us, error in facts.operations:
        attempt = f"attempt {attempts}"
        if status == "running":
            if Lease(owner, token, ttl_us, expires_us).is_live(facts.now_us, is_dead):
                continue
            reason = f"the worker of {attempt} died: call store.once with this id again."
        else:
            reason = f"{attempt} failed with {error}: call store.once with this id again."
        yield Step(
            kind="retry",
            reason=reason,
            operation_id=operation_id,
            token=token,
            owner=owner if status == "running" else None,
        )


def _repairs(findings: Report | None) -> Iterable[Step]:
    for finding in findings.findings if findings is not None else ():
        if finding.severity == "error" or finding.kind == OPEN_FLAG:
            yield Step(
                kind="repair",
                reason=f"{finding.where}: {finding.problem} {finding.advice}",
                key=finding.key,
                finding=finding.kind,
            )


def _roles(progress: object) -> Iterable[str] | None:
    """The roles with an open window; None if that can't be read."""
    try:
        return _PROGRESS.decode(progress)  # type: ignore[arg-type]  # SQLite may hold any type
    except (msgspec.MsgspecError, TypeError, ValueError):
        return None


_PROGRESS: msgspec.json.Decoder[dict[str, OpenWindow]] = msgspec.json.Decoder(dict[str, OpenWindow])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times in a row"
