"""History: the states that a Key had; which of them can still be read; taking one of them up again."""

from __future__ import annotations

from typing import Any, NamedTuple

from belaypin.codec import decode_frame, load_state
from belaypin.errors import BelaypinError, CorruptRecord, SchemaTooNew, UsageError
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import audit, checkpoints, dictionaries
from belaypin.programs.checkpoints import CheckpointRow
from belaypin.records.history import Version
from belaypin.times import from_us

__all__ = [
    "VersionRow",
    "data",
    "newest_readable",
    "read",
    "repair",
    "rewindable",
    "take_up",
    "versions",
]

_NEWEST = 2**63 - 1
_STEP = 20


class VersionRow(NamedTuple):
    """A state as it is stored, the present one or one that was replaced."""

    version: int
    schema_version: int
    is_damaged: int
    is_current: int
    state: bytes
    content_hash: str | None
    saved_us: int
    token: int | None
    reason: str

    @property
    def is_readable(self) -> bool:
        """Whether it decodes; what a newer belaypin has framed counts as readable."""
        if self.is_damaged:
            return False
        try:
            load_state(decode_frame(self.state, what="").raw, object)
        except SchemaTooNew:
            return True
        except BelaypinError:
            return False
        return True

    def at(self, key: Key) -> Version:
        """As it is handed out."""
        return Version(
            key=key,
            version=self.version,
            schema_version=self.schema_version,
            saved_at=from_us(self.saved_us),
            content_hash=self.content_hash,
            size=len(self.state),
            reason=self.reason,
            token=self.token,
            is_readable=self.is_readable,
        )


def versions(key: Key, limit: int, before: int | None) -> Program[list[VersionRow]]:
    """The states of the Key below the version ``before``, the newest first."""
    key_id = yield from checkpoints.find(key)
    where = {"key_id": key_id, "before": _NEWEST if before is None else before, "count": limit}
    rows = yield Statement("history.list", where)
    found = [VersionRow(*row) for row in rows]
    yield from dictionaries.learn([row.state for row in found])
    return found


def read(key: Key, version: int) -> Program[CheckpointRow | None]:
    """The checkpoint with the state that it had at ``version``; None if that is not kept."""
    row = yield from checkpoints.read(key)
    kept = (yield from _kept(row.key_id, version)) if row is not None else None
    if row is None or kept is None:
        return None
    return row._replace(
        state=kept.state,
        version=kept.version,
        schema_version=kept.schema_version,
        content_hash=kept.content_hash,
        updated_us=kept.saved_us,
    )


def data(key: Key, version: int | None) -> Program[Any]:
    """The state of ``version`` (None: the present one) as JSON data, in the shape it was saved in.

    Raises UsageError if it is not kept, CorruptRecord if it is damaged.
    """
    row = yield from (checkpoints.read(key) if version is None else read(key, version))
    if row is None or row.state is None:
        raise _not_kept(key, version)
    what = f"version {row.version} of the state at {key}"
    return load_state(decode_frame(row.state, what=what).raw, object)


def newest_readable(key: Key) -> Program[VersionRow | None]:
    """The newest state of the Key that decodes: the present one, or the first behind it."""
    before: int | None = None
    while True:
        rows = yield from versions(key, _STEP, before)
        for row in rows:
            if row.is_readable:
                return row
        if len(rows) < _STEP:
            return None
        before = rows[-1].version


def repair(actor: str, key: Key) -> Program[int | None]:
    """Put the newest readable state in the place of a damaged one, which is set aside in history.

    Returns the version that was taken up; None if the state is sound (or there is none).
    Raises CorruptRecord if nothing readable is left.
    """
    key_id = yield from checkpoints.find(key)
    if key_id is None:
        return None
    yield from checkpoints.lock(key_id)
    stands = yield from checkpoints.read(key)
    found = yield from newest_readable(key)
    if stands is None or stands.state is None or (found is not None and found.is_current):
        return None
    if found is None:
        raise CorruptRecord(
            f"The state at {key} is damaged, and no older one that can be read is kept. Nothing "
            f"was changed. Restore it from a backup, or give it a new one: store.save(key, state)."
        )
    kept = {"key_id": key_id, "version": stands.version, "is_damaged": 1}
    yield Statement("history.keep", {**kept, "reason": "repair", "token": None})
    version = yield from take_up(key_id, found)
    detail = {"damaged": stands.version, "taken_from": found.version, "version": version}
    yield from audit.note(actor, "repair", key, detail)
    return found.version


def take_up(key_id: int, row: VersionRow) -> Program[int]:
    """Make an older state the present one, as a new version. The caller has locked the Key's row."""
    rows = yield Statement(
        "history.restore",
        {
            "key_id": key_id,
            "from_version": row.version,
            "schema_version": row.schema_version,
        },
    )
    version: int = rows[0][0]
    return version


def rewindable(key: Key, key_id: int, version: int) -> Program[VersionRow]:
    """The kept state of ``version``. Raises UsageError if it is not kept, CorruptRecord if damaged."""
    row = yield from _kept(key_id, version)
    if row is None:
        raise _not_kept(key, version)
    decode_frame(row.state, what=f"version {version} of the state at {key}")
    return row


def _kept(key_id: int, version: int) -> Program[VersionRow | None]:
    rows = yield Statement("history.read", {"key_id": key_id, "version": version})
    if not rows:
        return None
    row = VersionRow(*rows[0])
    yield from dictionaries.learn([row.state])
    return row


def _not_kept(key: Key, version: int | None) -> UsageError:
    if version is None:
        return UsageError(f"There is no state at {key}: nothing to compare.")
    return UsageError(
        f"Version {version} of the state at {key} is not kept. store.history(key) lists those that "
        f"are; belaypin.open(..., history=n) keeps more of them from now on."
    )
