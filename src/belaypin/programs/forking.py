"""Forking: an entity copied under a new name in one transaction; a pipeline, entity by entity."""

from __future__ import annotations

from typing import NamedTuple

from belaypin.errors import UsageError, VersionConflict
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import audit, failures, savepoints
from belaypin.programs.savepoints import HeldRow
from belaypin.programs.scope import Scope
from belaypin.records.history import Forked

__all__ = ["Copied", "begin", "copy_entity", "copy_next", "finish", "refuse_existing"]

_COPIES = ("fork.segments", "fork.coverage", "fork.history", "fork.originals")


class Copied(NamedTuple):
    """How many keys and items a step has copied."""

    keys: int
    items: int


class _Fork(NamedTuple):
    source: str
    copied_to: str | None
    finished_us: int | None


def begin(source: Key, target: Key) -> Program[str | None]:
    """Begin to fork a pipeline, or go on; returns the last entity that is copied already.

    Raises UsageError if there is something at the target that is no half-done fork of the source.
    """
    fork = yield from _read(target)
    if fork is None or fork.finished_us is not None:
        yield from refuse_existing(target)
        yield Statement("fork.forget", {"pipeline": target.pipeline})
        named = {"pipeline": target.pipeline, "source": source.pipeline}
        yield Statement("fork.begin", named)
        fork = yield from _read(target)
    if fork is None or fork.source != source.pipeline:
        raise UsageError(
            f"{target} is a half-done fork of {Key(fork.source) if fork else source}, not of "
            f"{source}. Nothing was changed. Finish that one, or choose another name."
        )
    return fork.copied_to


def copy_next(source: Key, target: Key, entity: str) -> Program[Copied]:
    """Copy the next entity of a pipeline, and note that it is done, in one transaction."""
    copied = yield from copy_entity(
        Key(source.pipeline, entity), Key(target.pipeline, entity), whole=False
    )
    moved = yield Statement("fork.advance", {"pipeline": target.pipeline, "entity": entity})
    if not moved:
        raise VersionConflict(
            f"Another process makes the fork {target} as well. Nothing of this step was "
            f"written. Let it finish, or run this again to go on."
        )
    return copied


def finish(actor: str, source: Key, target: Key, copied: Forked) -> Program[None]:
    """Every entity is copied."""
    yield Statement("fork.finish", {"pipeline": target.pipeline})
    yield from _note(actor, source, target, copied)


def copy_entity(source: Key, target: Key, *, whole: bool, actor: str = "") -> Program[Copied]:
    """Copy what belongs to an entity, as it stands now. ``whole``: it is all that is forked.

    Raises UsageError if there is something at the target, or (``whole``) nothing at the source.
    """
    rows = yield from savepoints.hold(source)
    if whole and not rows:
        raise UsageError(f"There is nothing at {source}: nothing to fork.")
    for row in rows:
        yield from _copy_row(row, target)
    copied = Copied(len(rows), sum(row.items for row in rows))
    if whole:
        yield from _note(actor, source, target, Forked(source, target, 1, *copied))
    return copied


def refuse_existing(target: Key) -> Program[None]:
    """Raise UsageError if there is anything at the target."""
    scope = Scope.of(target.pipeline, target.entity or None).params()
    found = yield Statement("fork.exists", scope)
    if found[0][0] is not None:
        raise _exists(target)


def _copy_row(row: HeldRow, target: Key) -> Program[None]:
    made = yield Statement(
        "fork.key",
        {
            "key_id": row.key_id,
            "new_pipeline": target.pipeline,
            "new_entity": target.entity,
        },
    )
    if not made:
        raise _exists(target)
    copy = {"key_id": row.key_id, "new_key_id": made[0][0], "generation": row.generation}
    for statement in _COPIES:
        yield Statement(statement, copy)
    yield from failures.copy(row.key_id, row.generation, made[0][0], row.generation)


def _read(target: Key) -> Program[_Fork | None]:
    rows = yield Statement("fork.read", {"pipeline": target.pipeline})
    return _Fork(*rows[0]) if rows else None


def _note(actor: str, source: Key, target: Key, copied: Forked) -> Program[None]:
    detail = {"to": str(target), "keys": copied.keys, "items": copied.items}
    yield from audit.note(actor, "fork", source, detail)
    yield from audit.note(actor, "fork", target, {**detail, "from": str(source)})


def _exists(target: Key) -> UsageError:
    return UsageError(
        f"There is something at {target} already, and a fork overwrites nothing. Nothing was "
        f"changed. Choose another name."
    )
