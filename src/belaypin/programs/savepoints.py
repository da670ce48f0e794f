"""Savepoints: how an entity stood, kept in one transaction; a pipeline's, entity by entity.

Whoever takes an entity as a whole (here, to rewind it, or to fork it) locks its leases first and
then its rows, so that no commit is on its way meanwhile; see ``hold``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from belaypin.errors import LeaseHeld, UsageError, VersionConflict
from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs import audit, failures
from belaypin.programs.scope import Scope
from belaypin.records.history import Savepoint
from belaypin.times import from_us

__all__ = [
    "HeldRow",
    "Holder",
    "SavepointRow",
    "begin",
    "discard",
    "drop_entity",
    "failed_at",
    "find",
    "finish",
    "hold",
    "holders",
    "listing",
    "mark_dropped",
    "next_entity",
    "refuse",
    "save_entity",
    "whole",
]


class Holder(NamedTuple):
    """A lease as it stands now."""

    entity: str
    role: str
    owner: str
    token: int
    ttl_us: int
    expires_us: int
    now_us: int

    @property
    def is_live(self) -> bool:
        """Whether it keeps others out. One that lies far ahead is of before the clock was set back."""
        return self.now_us < self.expires_us <= self.now_us + 2 * self.ttl_us


class HeldRow(NamedTuple):
    """A Key's row, which is locked until the transaction ends."""

    key_id: int
    stream: str
    generation: int
    commits: int
    head_seq: int
    progress: str
    items: int
    skipped: int
    version: int
    schema_version: int
    content_hash: str | None
    last_seen_us: int | None
    failures: int
    has_state: int
    now_us: int

    @property
    def is_blank(self) -> bool:
        """Whether nothing is known there that a reset would forget, its coverage aside."""
        kept = (self.items, self.failures, self.has_state, self.content_hash is not None)
        return not any(kept) and self.progress == "{}"


class SavepointRow(NamedTuple):
    """A savepoint as it is stored."""

    savepoint_id: int
    pipeline: str
    entity: str
    name: str
    note: str
    entities: int
    saved_to: str | None
    is_dropped: int
    created_us: int
    finished_us: int | None

    @property
    def key(self) -> Key:
        return Key(self.pipeline, self.entity)

    def handed_out(self) -> Savepoint:
        """As users see it."""
        return Savepoint(
            key=self.key,
            name=self.name,
            note=self.note,
            entities=self.entities,
            created_at=from_us(self.created_us),
            finished_at=None if self.finished_us is None else from_us(self.finished_us),
        )


def hold(key: Key, *, dead: Collection[str] = (), force: bool = True) -> Program[list[HeldRow]]:
    """Lock an entity (or one stream of it): its leases, then its rows, in the order of key_id.

    Commits under a lease have ended, or wait until we have. Without ``force``, raises LeaseHeld if
    a lease is live whose owner is not known to be ``dead``.
    """
    rows = yield Statement("travel.leases", {"pipeline": key.pipeline, "entity": key.entity})
    if not force:
        refuse(key, [Holder(key.entity, *row) for row in rows], dead)
    found = yield Statement("travel.rows", _beneath(key))
    return [HeldRow(*row) for row in found]


def holders(key: Key) -> Program[list[Holder]]:
    """The leases that have not ended, of the entity or of every entity of the pipeline."""
    scope = Scope.of(key.pipeline, key.entity or None).params()
    rows = yield Statement("travel.holders", scope)
    return [Holder(*row) for row in rows]


def refuse(key: Key, found: Collection[Holder], dead: Collection[str]) -> None:
    """Raise LeaseHeld if one of the leases is live."""
    live = [holder for holder in found if holder.is_live and holder.owner not in dead]
    if live:
        holder = live[0]
        left_s = (holder.expires_us - holder.now_us) / 1_000_000
        others = f", and {len(live) - 1} more" if len(live) > 1 else ""
        raise LeaseHeld(
            f"{Key(key.pipeline, holder.entity)} (role {holder.role}) is held by {holder.owner} "
            f"with token {holder.token}, for another {left_s:.1f} s unless it is renewed{others}. "
            f"Nothing was changed. Stop the workers, or pass force=True to fence them: what "
            f"they write after that is refused."
        )


def next_entity(pipeline: str, after: str | None) -> Program[str | None]:
    """The entity behind ``after``, in order of names; the pipeline itself ('') is the first."""
    if after is None:
        return ""
    rows = yield Statement("travel.next_entity", {"pipeline": pipeline, "after": after})
    entity: str | None = rows[0][0]
    return entity


def find(key: Key, name: str) -> Program[SavepointRow | None]:
    """The savepoint of that name of just this Key."""
    where = {"pipeline": key.pipeline, "entity": key.entity, "name": name}
    rows = yield Statement("savepoint.find", where)
    return SavepointRow(*rows[0]) if rows else None


def listing(key: Key | None) -> Program[list[Savepoint]]:
    """The savepoints of a Key (None: all), the newest first; of a pipeline, its entities' too."""
    scope = Scope.of(None, None) if key is None else Scope.of(key.pipeline, key.entity or None)
    rows = yield Statement("savepoint.list", scope.params())
    return [SavepointRow(*row).handed_out() for row in rows]


def begin(key: Key, name: str, note: str) -> Program[SavepointRow]:
    """Open a savepoint, or go on with one that was interrupted. Raises UsageError if it is whole."""
    named = {"pipeline": key.pipeline, "entity": key.entity, "name": name}
    yield Statement("savepoint.open", {**named, "note": note})
    row = yield from find(key, name)
    assert row is not None
    if row.is_dropped:
        raise UsageError(
            f"The savepoint {name!r} of {key} is being dropped, and that was interrupted. Go on "
            f"with store.drop_savepoint(key, name), then make it again."
        )
    if row.finished_us is not None:
        raise UsageError(
            f"{key} has a savepoint {name!r} already, of {from_us(row.created_us).isoformat()}. "
            f"Choose another name, or drop it first: store.drop_savepoint(key, name)."
        )
    return row


def save_entity(savepoint: SavepointRow, entity: str) -> Program[int]:
    """Keep how one entity stands. Returns how many entities the savepoint has now.

    Raises VersionConflict if another process takes the same savepoint and was faster.
    """
    where = {"savepoint_id": savepoint.savepoint_id}
    rows = yield from hold(Key(savepoint.pipeline, entity))
    for row in rows:
        of_key = {**where, "key_id": row.key_id}
        yield Statement("savepoint.key", of_key)
        yield Statement("savepoint.segments", {**of_key, "generation": row.generation})
        yield Statement("savepoint.coverage", {**of_key, "generation": row.generation})
        yield Statement("savepoint.barrier", {"key_id": row.key_id})
        there = failed_at(savepoint.savepoint_id)
        yield from failures.copy(row.key_id, row.generation, row.key_id, there)
        if row.has_state:
            yield keep(row, "savepoint")
    counts = bool(entity and rows)
    moved = yield Statement(
        "savepoint.advance", {**where, "entity": entity, "entities": int(counts)}
    )
    if not moved:
        raise _conflict(savepoint)
    entities: int = moved[0][0]
    return entities


def finish(actor: str, savepoint: SavepointRow) -> Program[Savepoint]:
    """The savepoint is whole: from now on a rewind may go there."""
    finished = yield Statement("savepoint.finish", {"savepoint_id": savepoint.savepoint_id})
    row = yield from find(savepoint.key, savepoint.name)
    if row is None or not finished:
        raise _conflict(savepoint)
    detail = {"name": row.name, "note": row.note, "entities": row.entities}
    yield from audit.note(actor, "savepoint", row.key, detail)
    return row.handed_out()


def whole(key: Key, name: str) -> Program[SavepointRow]:
    """The savepoint to go to: the Key's own, or that of its pipeline. UsageError if there is none."""
    row = yield from find(key, name)
    if row is None and key.entity:
        row = yield from find(Key(key.pipeline), name)
    if row is None or row.is_dropped:
        raise UsageError(
            f"{key} has no savepoint {name!r}; store.savepoints(key) lists those that it has. "
            f"Nothing was changed."
        )
    if row.finished_us is None:
        raise UsageError(
            f"The savepoint {name!r} of {row.key} is not whole: it was interrupted after "
            f"{row.entities} entities. Nothing was changed. Go on with store.savepoint(key, name)."
        )
    return row


def mark_dropped(key: Key, name: str) -> Program[SavepointRow]:
    """Begin to drop a savepoint, or go on: nothing goes back to it from now on."""
    row = yield from find(key, name)
    if row is None:
        raise UsageError(f"{key} has no savepoint {name!r}: nothing to drop.")
    yield Statement("savepoint.dropping", {"savepoint_id": row.savepoint_id})
    return row


def drop_entity(savepoint: SavepointRow, entity: str) -> Program[None]:
    """Forget how one entity stood: its segments may merge, its states be pruned again."""
    for row in (yield from hold(Key(savepoint.pipeline, entity))):
        of_key = {"savepoint_id": savepoint.savepoint_id, "key_id": row.key_id}
        yield Statement("savepoint.drop_spans", of_key)
        yield Statement("savepoint.drop_key", of_key)
        yield from failures.forget(row.key_id, failed_at(savepoint.savepoint_id))
        yield Statement("savepoint.barrier", {"key_id": row.key_id})


def discard(actor: str, savepoint: SavepointRow) -> Program[None]:
    """Every entity is done: the savepoint is gone."""
    yield Statement("savepoint.delete", {"savepoint_id": savepoint.savepoint_id})
    yield from audit.note(actor, "drop_savepoint", savepoint.key, {"name": savepoint.name})


def failed_at(savepoint_id: int) -> int:
    """The generation under which a savepoint keeps the items that were failing: no stream has it."""
    return -savepoint_id


def keep(row: HeldRow, reason: str) -> Statement:
    """Keep the row's present state in history, whatever the store keeps by itself."""
    return Statement(
        "history.keep",
        {
            "key_id": row.key_id,
            "version": row.version,
            "is_damaged": 0,
            "reason": reason,
            "token": None,
        },
    )


def _beneath(key: Key) -> dict[str, SqlValue]:
    last = key.stream or Scope.of(key.pipeline, key.entity).last[2]
    return {
        "pipeline": key.pipeline,
        "entity": key.entity,
        "stream": key.stream,
        "last_stream": last,
    }


def _conflict(savepoint: SavepointRow) -> VersionConflict:
    return VersionConflict(
        f"Another process works on the savepoint {savepoint.name!r} of {savepoint.key} as well. "
        f"Nothing of this step was written. Let it finish, or run this again to go on."
    )
