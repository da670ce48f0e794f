"""Components of a lease: saved in the transaction of its commits, put back where the last one was.

Whatever undoes a commit (an exception, a fence, a failed COMMIT), the component is restored to the
last commit, as it would be after a crash: it never counts what was not committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from belaypin.codec import dump_state, encode_frame, load_state
from belaypin.components import Checkpointable
from belaypin.errors import BelaypinError, UsageError, VersionConflict
from belaypin.fields import describe
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import checkpoints, dictionaries, leases
from belaypin.programs.checkpoints import CheckpointRow
from belaypin.programs.leases import Fence
from belaypin.schema import KEPT_VERSIONS, Schema, read_raw, read_state, too_new, version_of

__all__ = ["Attached", "Components", "Snapshot", "open_row", "save"]

_PARTS = ("snapshot", "restore", "is_complete")


class Snapshot(NamedTuple):
    """How a component stands: its state as JSON, taken at that moment and never changed again."""

    raw: bytes
    is_complete: bool


class Change(NamedTuple):
    """A snapshot that the commit shall save."""

    attached: Attached
    snapshot: Snapshot


class Attached:
    """A component, the Key that it is stored at, and what is known to be stored there."""

    def __init__(
        self,
        key: Key,
        component: Checkpointable[Any],
        type_: Any,
        schema: Schema | None,
        history: int = KEPT_VERSIONS,
    ) -> None:
        missing = [part for part in _PARTS if not hasattr(component, part)]
        if missing:
            raise UsageError(
                f"{describe(component)} can't be attached at {key}: it has no "
                f"{', no '.join(missing)}. See belaypin.Checkpointable."
            )
        self.key = key
        self.key_id = 0
        self.version = 0
        self.stored_schema_version = 0
        self.dictionary_id: int | None = None
        self.schema_version = version_of(schema)
        self.component = component
        self.has_state = False
        """Whether a state is stored there, which the next one replaces."""
        self.history = history
        self._type = type_
        self._schema = schema
        self._stored: Snapshot | None = None  # in this schema; None if there is no such state
        self._committed = Snapshot(b"null", False)
        self._is_lost = False

    def restore(self, row: CheckpointRow) -> None:
        """Put the component where the row says; without a state there it stays as it is."""
        self.key_id, self.version = row.key_id, row.version
        self.stored_schema_version = row.schema_version
        self.has_state = row.state is not None
        self.dictionary_id = row.dictionary_id
        if row.state is not None:
            read = (row.state, row.schema_version)
            what = f"the state at {self.key}"
            self.component.restore(read_state(*read, self._type, self._schema, what=what))
            if row.schema_version == self.schema_version:
                raw = read_raw(*read, self._schema, what=what)
                self._stored = Snapshot(raw, row.completed_us is not None)
        self._committed = self._snapshot()

    def change(self) -> Change | None:
        """What the commit has to save, if the component has moved since the last one."""
        if self._is_lost:
            raise UsageError(
                f"The component at {self.key} could not be restored after a commit was undone, so "
                f"nobody knows how it stands. Nothing was written. Take a new lease to go on."
            )
        now = self._snapshot()
        return None if now == self._stored else Change(self, now)

    def saved(self, snapshot: Snapshot) -> None:
        """The snapshot is durable, or part of the user's own transaction."""
        self.version += 1
        self.has_state = True
        self.stored_schema_version = self.schema_version
        self._stored = self._committed = snapshot

    def undo(self) -> None:
        """Put the component back where the last commit left it."""
        self._is_lost = True
        self.component.restore(load_state(self._committed.raw, self._type))
        self._is_lost = False

    def _snapshot(self) -> Snapshot:
        is_complete = self.component.is_complete
        if not isinstance(is_complete, bool):
            raise UsageError(
                f"is_complete of the component at {self.key} is {describe(is_complete)}: make it "
                f"True or False, or a property that returns one of them."
            )
        try:
            return Snapshot(dump_state(self.component.snapshot()), is_complete)
        except UsageError as error:
            raise UsageError(f"The component at {self.key} can't be saved: {error}") from error


class Components:
    """What is attached to one lease, by name."""

    def __init__(self) -> None:
        self._attached: dict[str, Attached] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._attached

    def add(self, name: str, attached: Attached) -> None:
        """Save it in every commit from now on, in place of another of that name."""
        self._attached[name] = attached

    def changes(self) -> list[Change]:
        """What the commit has to save, in the order in which rows are locked."""
        found = [change for a in self._attached.values() if (change := a.change()) is not None]
        return sorted(found, key=lambda change: change.attached.key_id)

    def saved(self, changes: Sequence[Change]) -> None:
        """The commit is durable, or part of the user's own transaction."""
        for attached, snapshot in changes:
            attached.saved(snapshot)

    def undo(self, error: BaseException) -> None:
        """A commit was undone because of ``error``: put every component back."""
        for attached in self._attached.values():
            try:
                attached.undo()
            except Exception as second:  # noqa: BLE001 -- the user's; the first error goes first
                error.add_note(f"and the component at {attached.key} was not restored: {second!r}")


def open_row(fence: Fence, key: Key) -> Program[CheckpointRow]:
    """Make the row of a component's Key, under the lease: its work begins now."""
    yield from leases.check(fence)
    yield from checkpoints.ensure(key)
    row = yield from checkpoints.read(key)
    assert row is not None
    return row


def save(changes: Sequence[Change], token: int) -> Program[None]:
    """Save what has changed. The caller holds the lease of ``token``, in this same transaction.

    Raises VersionConflict if somebody else saved at the Key, SchemaTooNew if newer code did.
    """
    for attached, snapshot in changes:
        if attached.stored_schema_version < attached.schema_version:
            yield from checkpoints.lock(attached.key_id)
            yield from checkpoints.keep_original(attached.key_id, attached.schema_version)
        if attached.has_state:
            kept = (attached.key_id, attached.version, attached.history)
            yield from checkpoints.keep_version(*kept, token=token)
        frame = encode_frame(snapshot.raw, schema_version=attached.schema_version)
        frame = yield from dictionaries.shortened(frame, attached.dictionary_id)
        rows = yield Statement(
            "state.save",
            {
                "key_id": attached.key_id,
                "state": frame,
                "schema_version": attached.schema_version,
                "version": attached.version,
                "is_complete": int(snapshot.is_complete),
            },
        )
        if not rows:
            stands = yield from checkpoints.lock(attached.key_id)
            raise _refusal(attached, stands)


def _refusal(attached: Attached, stands: checkpoints.LockedRow) -> BelaypinError:
    if stands.schema_version > attached.schema_version:
        what = f"the state at {attached.key}"
        return too_new(what, stands.schema_version, attached.schema_version)
    return VersionConflict(
        f"The state at {attached.key} has version {stands.version}, not {attached.version}: "
        f"another role's component, store.save() or a transaction that was rolled back changed it "
        f"behind this one. Nothing was written. Attach the component again, or take a new lease."
    )
