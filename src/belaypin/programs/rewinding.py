"""Rewinding: an entity taken back to a savepoint or to its beginning; covered time made a gap again.

Nothing is deleted. What is rewound goes on in a new generation: the segments that it had then
belong to it, later ones stay with the old one, and whoever still is at the old one is fenced.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from belaypin import intervals
from belaypin.errors import CorruptRecord, UsageError
from belaypin.intervals import Intervals
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import audit, coverage, failures, history, savepoints
from belaypin.programs.pages import OpenWindow
from belaypin.programs.savepoints import HeldRow
from belaypin.records.checkpoints import Interval
from belaypin.records.history import Rewound, RewoundStream
from belaypin.times import from_us

__all__ = ["BEGINNING", "Act", "Tally", "reopen", "rewind", "take_version"]

BEGINNING = 0
"""In place of a savepoint: before anything was known. No savepoint has this id."""

_LISTED = 100
_WINDOWS = msgspec.json.Decoder(dict[str, OpenWindow])


class Act(NamedTuple):
    """Who takes an entity back, and past whom: see ``savepoints.hold``."""

    actor: str
    action: str
    to: str | int | None
    dead: Collection[str]
    force: bool


class _Stood(NamedTuple):
    """How a Key stood at the savepoint; the beginning if it was not there yet."""

    items: int = 0
    version: int | None = None
    schema_version: int = 0
    is_lost: int = 0
    """Whether its state is gone from history, which nothing of ours does."""
    standing: tuple[int | None, ...] = ()
    """What tells that nothing was done since: each commit moves one of these."""
    covered: tuple[tuple[int, int], ...] = ()


class Tally:
    """What became of the keys so far; the report lists the first of them."""

    def __init__(self, act: Act, key: Key, *, dry_run: bool) -> None:
        self._act = act
        self._key = key
        self._dry_run = dry_run
        self._entities = self._forgotten = self._unlisted = 0
        self._streams: list[RewoundStream] = []

    def add(self, streams: Collection[RewoundStream]) -> None:
        """One entity is done."""
        self._entities += any(stream.key.entity for stream in streams)
        for stream in streams:
            self._forgotten += max(0, stream.items_before - stream.items_after)
            if len(self._streams) < _LISTED:
                self._streams.append(stream)
            else:
                self._unlisted += 1

    def report(self) -> Rewound:
        """What was done, or would have been."""
        return Rewound(
            action=self._act.action,
            key=self._key,
            to=self._act.to,
            dry_run=self._dry_run,
            entities=self._entities,
            items_forgotten=self._forgotten,
            streams=tuple(self._streams),
            unlisted=self._unlisted,
        )


def rewind(act: Act, key: Key, savepoint_id: int) -> Program[list[RewoundStream]]:
    """Take an entity (or one stream) back to a savepoint, or to the BEGINNING.

    Its leases end, so that whoever holds one is fenced. Raises LeaseHeld, see ``savepoints.hold``.
    """
    rows = yield from savepoints.hold(key, dead=act.dead, force=act.force)
    if savepoint_id != BEGINNING:
        yield from _check_kept(key, act, savepoint_id)
    done = []
    for row in rows:
        rewound = yield from _rewind_row(key, row, savepoint_id, act.action)
        if rewound is not None:
            done.append(rewound)
    yield from _end(act, key, done)
    return done


def take_version(act: Act, key: Key, version: int) -> Program[list[RewoundStream]]:
    """Make the state of an older version the present one, as a new version.

    Raises UsageError if it is not kept, or if the Key has items: its state belongs to them.
    """
    rows = yield from savepoints.hold(Key(key.pipeline, key.entity), dead=act.dead, force=act.force)
    row = next((row for row in rows if row.stream == key.stream), None)
    if row is None:
        raise UsageError(f"There is nothing at {key}: no version to go back to.")
    if row.items or row.head_seq:
        raise UsageError(
            f"{key} has a ledger, and a state alone does not take it back. Nothing was changed. "
            f"Make savepoints, and go back to one of those: store.rewind(key, to='name')."
        )
    kept = yield from history.rewindable(key, row.key_id, version)
    if kept.is_current:
        return []
    if row.has_state:
        yield savepoints.keep(row, act.action)
    now = yield from history.take_up(row.key_id, kept)
    done = [RewoundStream(key=key, generation=row.generation, version=now)]
    yield from _end(act, key, done)
    return done


def reopen(act: Act, key: Key, start_us: int, end_us: int) -> Program[list[RewoundStream]]:
    """Take [start_us, end_us) out of the coverage of an entity's streams (or of one).

    Open windows that reach into it begin again: what lies behind their cursor must be fetched too.
    """
    rows = yield from savepoints.hold(key, dead=act.dead, force=act.force)
    done = []
    for row in rows:
        before = yield from coverage.covered(row.key_id, row.generation)
        after = intervals.subtract(before, start_us, end_us)
        windows = _WINDOWS.decode(row.progress)
        kept = {role: w for role, w in windows.items() if not _meets(w, start_us, end_us)}
        if after == before and len(kept) == len(windows):
            continue
        yield from _replace(row, before, after)
        progress = msgspec.json.encode(kept).decode()
        where = {"key_id": row.key_id, "start_us": start_us, "end_us": end_us}
        yield Statement("travel.progress", {**where, "progress": progress})
        done.append(_rewound(key, row, row.generation, row.version, row.items, before, after))
    yield from _end(act, key, done)
    return done


def _check_kept(key: Key, act: Act, savepoint_id: int) -> Program[None]:
    rows = yield Statement("savepoint.is_dropped", {"savepoint_id": savepoint_id})
    if not rows or rows[0][0]:
        raise UsageError(
            f"The savepoint {act.to!r} is being dropped by somebody else. {key} was not changed; "
            f"entities before it may have been taken back."
        )


def _rewind_row(
    key: Key, row: HeldRow, savepoint_id: int, reason: str
) -> Program[RewoundStream | None]:
    where = {"key_id": row.key_id, "savepoint_id": savepoint_id}
    stood = yield from _stood(where)
    before = yield from coverage.covered(row.key_id, row.generation)
    if _is_there(row, stood, before):
        return None
    is_same = (row.version, row.schema_version) == (stood.version, stood.schema_version)
    if stood.version is None:
        is_same = not row.has_state and row.content_hash is None
    if stood.is_lost and not is_same:
        raise CorruptRecord(
            f"The state that {Key(key.pipeline, key.entity, row.stream)} had at the savepoint "
            f"(version {stood.version}) is gone from belaypin_history. Nothing of {key} was "
            f"changed. Restore that row from a backup."
        )
    if row.has_state and not is_same:
        yield savepoints.keep(row, reason)
    at = {**where, "generation": row.generation + 1}
    yield Statement("travel.segments", at)
    yield Statement("travel.coverage", at)
    if stood.version is None:
        blank = {"key_id": row.key_id, "generation": row.generation + 1, "is_same": int(is_same)}
        yield Statement("travel.blank", blank)
    else:
        yield Statement("travel.restore", {**at, "is_same": int(is_same)})
        there = savepoints.failed_at(savepoint_id)
        yield from failures.copy(row.key_id, there, row.key_id, row.generation + 1)
        yield Statement("failure.count", {"key_id": row.key_id, "generation": row.generation + 1})
        yield Statement("savepoint.stands", where)
    version = row.version + (not is_same)
    return _rewound(key, row, row.generation + 1, version, stood.items, before, stood.covered)


def _is_there(row: HeldRow, stood: _Stood, covered: Intervals) -> bool:
    """Whether nothing was done since, so that there is nothing to take back."""
    if stood.version is None:
        return row.is_blank and not covered
    moves = (
        *(row.generation, row.commits, row.version),
        *(row.skipped, row.last_seen_us, row.failures),
    )
    is_same = (stood.standing, stood.schema_version) == (moves, row.schema_version)
    return is_same and stood.covered == (*covered,)


def _stood(where: dict[str, Any]) -> Program[_Stood]:
    failed_at = savepoints.failed_at(where["savepoint_id"])
    rows = yield Statement("savepoint.stood", {**where, "failed_at": failed_at})
    if not rows:
        return _Stood()
    items, version, schema_version, is_lost, *standing = rows[0]
    spans = yield Statement("savepoint.covered", where)
    covered = tuple((start, end) for start, end in spans)
    return _Stood(items, version, schema_version, is_lost, tuple(standing), covered)


def _rewound(
    key: Key,
    row: HeldRow,
    generation: int,
    version: int,
    items: int,
    before: Intervals,
    after: Sequence[tuple[int, int]],
) -> RewoundStream:
    gone = before
    for start, end in after:
        gone = intervals.subtract(gone, start, end)
    return RewoundStream(
        key=Key(key.pipeline, key.entity, row.stream),
        generation=generation,
        version=version,
        items_before=row.items,
        items_after=items,
        taken_back=tuple(Interval(from_us(start), from_us(end)) for start, end in gone),
    )


def _replace(row: HeldRow, before: Intervals, after: Intervals) -> Program[None]:
    stream = {"key_id": row.key_id, "generation": row.generation}
    for start, _ in before:
        if (start, _) not in after:
            yield Statement("coverage.delete", {**stream, "start_us": start})
    for start, end in after:
        if (start, end) not in before:
            yield Statement("coverage.insert", {**stream, "start_us": start, "end_us": end})


def _meets(window: OpenWindow, start_us: int, end_us: int) -> bool:
    return window.start_us < end_us and start_us < window.end_us


def _end(act: Act, key: Key, done: Collection[RewoundStream]) -> Program[None]:
    """Fence whoever still holds a lease, and note what was done."""
    if not done:
        return
    yield Statement("travel.end_leases", {"pipeline": key.pipeline, "entity": key.entity})
    forgotten = sum(max(0, stream.items_before - stream.items_after) for stream in done)
    detail = {
        "to": act.to,
        "force": act.force,
        "streams": [[s.key.stream, s.generation, s.items_after] for s in done],
        "items_forgotten": forgotten,
    }
    yield from audit.note(act.actor, act.action, key, detail)
