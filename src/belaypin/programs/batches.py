"""Batches: states of many Keys, saved in one transaction that can be recognised afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from belaypin.codec import decode_frame
from belaypin.errors import BelaypinError, SchemaTooNew, VersionConflict
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import checkpoints

__all__ = ["Save", "Written", "save", "took_place"]


class Save(NamedTuple):
    """A framed state on its way to a Key."""

    key: Key
    frame: bytes
    schema_version: int


class Written(NamedTuple):
    """What a batch has written: of each save the new version, or why it was refused.

    ``transaction`` is the database's name for it, where it tells what became of a transaction.
    """

    outcomes: list[int | BelaypinError]
    transaction: str | None


def save(saves: Sequence[Save], history: int) -> Program[Written]:
    """Save all; those of one Key in their order. One that is refused is left out.

    The ``history`` newest states that they replace are kept of each Key.
    """
    rows = yield Statement("transaction.name")
    # New rows in one order and then locks in another: so no two batches wait for each other.
    key_ids: dict[Key, int] = {}
    for key in sorted({each.key for each in saves}):
        key_ids[key] = yield from checkpoints.ensure(key)
    outcomes: list[int | BelaypinError] = [0] * len(saves)
    for index in sorted(range(len(saves)), key=lambda i: key_ids[saves[i].key]):
        key, frame, schema_version = saves[index]
        try:
            outcomes[index] = yield from checkpoints.save_at(
                key, key_ids[key], frame, schema_version, None, history
            )
        except (SchemaTooNew, VersionConflict) as error:
            outcomes[index] = error
    return Written(outcomes, rows[0][0])


def took_place(saves: Sequence[Save], written: Written) -> Program[bool | None]:
    """Whether a batch whose COMMIT went unanswered took place; None: it is still on its way."""
    if written.transaction is not None:
        rows = yield Statement("transaction.outcome", {"transaction": written.transaction})
        status = rows[0][0]
        if status is not None:
            return None if status == "in progress" else bool(status == "committed")
    # A batch is one transaction: one state of it that stands there tells of all.
    newest = {
        each.key: (version, each.frame)
        for each, version in zip(saves, written.outcomes, strict=True)
        if isinstance(version, int)
    }
    for key, (version, frame) in newest.items():
        row = yield from checkpoints.read(key)
        if row is not None and row.version == version and _is_same(row.state, frame):
            return True
    return False


def _is_same(stored: bytes | None, frame: bytes) -> bool:
    """Whether two frames hold the same state, however it was compressed."""
    if stored is None:
        return False
    what = "a state that was just saved"
    return decode_frame(stored, what=what) == decode_frame(frame, what=what)
