"""Checkpoints: the row of a Key, its typed state, and the content hash that detects change."""

from __future__ import annotations

from typing import Literal, NamedTuple

from belaypin.errors import VersionConflict
from belaypin.keys import Key
from belaypin.processors import processor_too_new
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs import dictionaries
from belaypin.schema import KEPT_VERSIONS, too_new

__all__ = [
    "CheckpointRow",
    "Kind",
    "LockedRow",
    "Offer",
    "OriginalRow",
    "content",
    "ensure",
    "find",
    "has_content",
    "keep_original",
    "keep_version",
    "lock",
    "named",
    "originals",
    "read",
    "save",
    "save_at",
    "unchanged",
]

_VERSIONS_PER_PRUNING = 7  # a prime: whatever else moves the version, some save meets it

Kind = Literal["new", "changed", "unchanged", "stale"]


class Offer(NamedTuple):
    """Content that somebody has fetched: its hash, its revision if it has one, and whose code it is."""

    content_hash: str
    revision: int | None = None
    processor: int = 0


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
    stale: int
    processor: int
    revision: int | None
    too_late: int
    horizon_us: int
    attempts: int
    created_us: int
    updated_us: int
    completed_us: int | None
    first_seen_us: int | None
    last_seen_us: int | None
    now_us: int
    dictionary_id: int | None


class LockedRow(NamedTuple):
    """What a writer must know of a row before it writes."""

    version: int
    content_hash: str | None
    schema_version: int
    revision: int | None
    processor: int
    dictionary_id: int | None


class OriginalRow(NamedTuple):
    """A state that was replaced, still framed."""

    schema_version: int
    version: int
    state: bytes
    replaced_us: int


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
    if not rows:
        return None
    row = CheckpointRow(*rows[0])
    yield from dictionaries.learn([row.state])
    return row


def lock(key_id: int) -> Program[LockedRow]:
    """Read the row, and hold it until the transaction ends."""
    rows = yield Statement("checkpoint.lock", {"key_id": key_id})
    return LockedRow(*rows[0])


def save(
    key: Key,
    state: bytes,
    schema_version: int,
    expected: int | None,
    history: int = KEPT_VERSIONS,
) -> Program[int]:
    """Store a framed state and return its new version.

    ``expected`` is the version that the writer read (0: no state yet); None overwrites whatever
    is there. What is replaced is one of the ``history`` versions kept. Raises VersionConflict if
    it is another, and SchemaTooNew, whatever was expected, if newer code has written there.
    """
    key_id = yield from ensure(key)
    return (yield from save_at(key, key_id, state, schema_version, expected, history))


def save_at(
    key: Key,
    key_id: int,
    state: bytes,
    schema_version: int,
    expected: int | None,
    history: int,
) -> Program[int]:
    """``save``, at the row that the Key has."""
    row = yield from lock(key_id)
    if row.schema_version > schema_version:
        raise too_new(f"the state at {key}", row.schema_version, schema_version)
    if expected is not None and row.version != expected:
        raise VersionConflict(
            f"The state at {key} has version {row.version}, not {expected}: somebody else saved it. "
            f"Nothing was written. Load it again, apply your change, and save with the new version."
        )
    if row.schema_version < schema_version:
        yield from keep_original(key_id, schema_version)
    yield from keep_version(key_id, row.version, history)
    rows = yield Statement(
        "checkpoint.save",
        {
            "key_id": key_id,
            "state": (yield from dictionaries.shortened(state, row.dictionary_id)),
            "schema_version": schema_version,
            "version": row.version,
        },
    )
    saved: int = rows[0][0]
    return saved


def keep_original(key_id: int, schema_version: int) -> Program[None]:
    """Keep the state as it is, if this schema is about to replace an older one.

    The caller has locked the row, in this same transaction.
    """
    yield Statement("original.keep", {"key_id": key_id, "schema_version": schema_version})


def keep_version(
    key_id: int, version: int, history: int, reason: str = "replaced", token: int | None = None
) -> Program[None]:
    """Keep the state, if it is still this ``version``, before another takes its place.

    It locks the row. The newest ``history`` versions stay (0: none is kept), and a few more until
    the next of them that are pruned together.
    """
    if not history or not version:
        return
    yield Statement(
        "history.keep",
        {
            "key_id": key_id,
            "version": version,
            "is_damaged": 0,
            "reason": reason,
            "token": token,
        },
    )
    if version % _VERSIONS_PER_PRUNING == 0:
        yield Statement("history.prune", {"key_id": key_id, "beyond": history - 1})


def originals(key: Key) -> Program[list[OriginalRow]]:
    """What newer schemas have replaced at the Key and nobody has confirmed, oldest schema first."""
    rows = yield Statement("original.list", named(key))
    found = [OriginalRow(*row) for row in rows]
    yield from dictionaries.learn([row.state for row in found])
    return found


def has_content(key: Key, offer: Offer) -> Program[int | None]:
    """The id of the Key's row if there is nothing to do: it was committed with all of this last."""
    rows = yield Statement("checkpoint.content_hash", named(key))
    if not rows:
        return None
    key_id, *stored = rows[0]
    revision = stored[1] if offer.revision is None else offer.revision
    return key_id if stored == [offer.content_hash, revision, offer.processor] else None


def content(key: Key, offer: Offer) -> Program[Kind]:
    """Compare under the row's lock, and note the new content if it differs.

    Raises SchemaTooNew if a newer processor has processed the content.
    """
    key_id = yield from ensure(key)
    stored = yield from lock(key_id)
    if stored.processor > offer.processor and stored.content_hash is not None:
        raise processor_too_new(key, stored.processor, offer.processor)
    kind = _kind(stored, offer)
    if kind == "stale":
        yield Statement("checkpoint.stale", {"key_id": key_id})
    elif kind != "unchanged":
        yield Statement("checkpoint.content", {"key_id": key_id, **offer._asdict()})
    elif offer.revision is not None and offer.revision != stored.revision:
        yield Statement("checkpoint.revised", {"key_id": key_id, "revision": offer.revision})
    return kind


def _kind(stored: LockedRow, offer: Offer) -> Kind:
    if stored.content_hash is None:
        return "new"
    if None not in (stored.revision, offer.revision) and offer.revision < stored.revision:  # type: ignore[operator]
        return "stale"
    is_same = stored.content_hash == offer.content_hash and stored.processor == offer.processor
    return "unchanged" if is_same else "changed"


def unchanged(key_id: int, content_hash: str) -> Program[None]:
    """Note that the same content was seen again."""
    yield Statement("checkpoint.unchanged", {"key_id": key_id, "content_hash": content_hash})


def named(key: Key) -> dict[str, SqlValue]:
    """The Key as parameters."""
    return {"pipeline": key.pipeline, "entity": key.entity, "stream": key.stream}
