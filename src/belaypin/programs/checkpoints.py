"""Checkpoints: the row of a Key, its typed state, and the content hash that detects change."""

from __future__ import annotations

from typing import Literal, NamedTuple

from belaypin.errors import VersionConflict
from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement

__all__ = [
    "CheckpointRow",
    "Kind",
    "content",
    "ensure",
    "find",
    "has_content",
    "named",
    "read",
    "save",
    "unchanged",
]

Kind = Literal["new", "changed", "unchanged"]


class CheckpointRow(NamedTuple):
    """A checkpoint as it is stored: the state still framed, times in microseconds."""

    key_id: int
    state: bytes | None
    version: int
    schema_version: int
    content_hash: str | None
    generation: int
    items: int
    skipped: int
    changed: int
    late: int
    attempts: int
    created_us: int
    updated_us: int
    completed_us: int | None
    first_seen_us: int | None
    last_seen_us: int | None
    now_us: int


def find(key: Key) -> Program[int | None]:
    """The id of the Key's row, if it has one."""
    rows = yield Statement("checkpoint.find", named(key))
    return rows[0][0] if rows else None


def ensure(key: Key) -> Program[int]:
    """The id of the Key's row, made if need be."""
    found = yield from find(key)
    if found is not None:
        return found
    yield Statement("checkpoint.ensure", named(key))
    rows = yield Statement("checkpoint.find", named(key))
    key_id: int = rows[0][0]
    return key_id


def read(key: Key) -> Program[CheckpointRow | None]:
    """The Key's checkpoint, if there is one."""
    rows = yield Statement("checkpoint.read", named(key))
    return CheckpointRow(*rows[0]) if rows else None


def save(key: Key, state: bytes, schema_version: int, expected: int | None) -> Program[int]:
    """Store a framed state and return its new version.

    ``expected`` is the version that the writer read (0: no state yet); None overwrites whatever
    is there. Raises VersionConflict if it is another.
    """
    key_id = yield from ensure(key)
    rows = yield Statement("checkpoint.lock", {"key_id": key_id})
    version: int = rows[0][0]
    if expected is not None and version != expected:
        raise VersionConflict(
            f"The state at {key} has version {version}, not {expected}: somebody else saved it. "
            f"Nothing was written. Load it again, apply your change, and save with the new version."
        )
    rows = yield Statement(
        "checkpoint.save",
        {"key_id": key_id, "state": state, "schema_version": schema_version, "version": version},
    )
    saved: int = rows[0][0]
    return saved


def has_content(key: Key, content_hash: str) -> Program[int | None]:
    """The id of the Key's row if this is the content that it was committed with last."""
    rows = yield Statement("checkpoint.content_hash", named(key))
    return rows[0][0] if rows and rows[0][1] == content_hash else None


def content(key: Key, content_hash: str) -> Program[Kind]:
    """Compare under the row's lock, and note the new content if it differs."""
    key_id = yield from ensure(key)
    rows = yield Statement("checkpoint.lock", {"key_id": key_id})
    stored: str | None = rows[0][1]
    if stored == content_hash:
        return "unchanged"
    yield Statement("checkpoint.content", {"key_id": key_id, "content_hash": content_hash})
    return "new" if stored is None else "changed"


def unchanged(key_id: int, content_hash: str) -> Program[None]:
    """Note that the same content was seen again."""
    yield Statement("checkpoint.unchanged", {"key_id": key_id, "content_hash": content_hash})


def named(key: Key) -> dict[str, SqlValue]:
    """The Key as parameters."""
    return {"pipeline": key.pipeline, "entity": key.entity, "stream": key.stream}
