"""Disposal: what a person does about failed items, without a lease, under the stream row's lock."""

from __future__ import annotations

from typing import NamedTuple, get_args

from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.mishaps import storable
from belaypin.program import Program, Row, SqlValue, Statement
from belaypin.programs import audit, checkpoints, failures, ledger
from belaypin.programs.failures import Standing
from belaypin.programs.pages import Stream, StreamRow
from belaypin.programs.scope import Scope
from belaypin.records.failure import Failure, Status, id_of, id_text, load_item
from belaypin.times import from_us

__all__ = ["Filter", "StoredFailure", "listed", "page", "quarantine", "read", "replay", "skip"]

_HIGHEST_STATUS = "~"


class Filter(NamedTuple):
    """Which failures: of some keys, of a status, with an error that begins like this."""

    scope: Scope
    status: str
    error: str
    is_everything: bool

    @classmethod
    def of(
        cls,
        pipeline: str | None,
        entity: str | None,
        stream: str | None,
        status: str | None,
        error: str | None,
    ) -> Filter:
        """Raises UsageError for what is no key or status."""
        if (entity is not None and pipeline is None) or (stream is not None and entity is None):
            raise UsageError("A stream belongs to an entity, and that to a pipeline: name them.")
        if status is not None and status not in get_args(Status):
            raise UsageError(f"status is 'waiting' or 'quarantined', not {describe(status)}.")
        if pipeline is not None:
            Key(pipeline, entity or "", stream or "")
        if pipeline is not None and entity is not None and stream is not None:
            scope = Scope((pipeline, entity, stream), (pipeline, entity, stream))
        else:
            scope = Scope.of(pipeline, entity)
        is_everything = pipeline is None and status is None and error is None
        return cls(scope, status or "", error or "", is_everything)

    def params(self) -> dict[str, SqlValue]:
        return {
            **self.scope.params(),
            "status": self.status,
            "last_status": self.status or _HIGHEST_STATUS,
            "error": self.error,
            "error_chars": len(self.error),
        }


class StoredFailure(NamedTuple):
    """A failure as verify reads it; the parts of its key are None where the key is gone."""

    failure_id: int
    pipeline: str | None
    entity: str | None
    stream: str | None
    key_id: int
    payload: bytes | None
    is_uncounted: int
    is_covered: int


def listed(where: Filter, after: int, limit: int) -> Program[list[Failure]]:
    """The first failures behind ``after``, oldest first, without their payloads."""
    rows = yield Statement("failure.list", {**where.params(), "after": after, "limit": limit})
    return [_failure(row) for row in rows]


def read(failure_id: int) -> Program[Failure | None]:
    """One failure, with its payload."""
    rows = yield Statement("failure.read", {"failure_id": failure_id})
    return _failure(rows[0]) if rows else None


def page(scope: Scope, after: int, limit: int = 50) -> Program[list[StoredFailure]]:
    """The first rows of the scope behind ``after``, as they are stored."""
    rows = yield Statement("failure.page", {**scope.params(), "after": after, "limit": limit})
    return [StoredFailure(*row) for row in rows]


def replay(actor: str, failure: Failure) -> Program[bool]:
    """Make one failed item due, with all its attempts; False if it is gone."""
    row = yield from _lock(failure.key)
    found = yield from _standing(row, failure)
    if found is None:
        return False
    yield Statement("failure.replay", {"failure_id": failure.failure_id})
    yield from audit.note(actor, "replay", failure.key, _detail(failure))
    return True


def skip(actor: str, failure: Failure, name: str | None) -> Program[bool]:
    """Enter one failed item into the ledger without an effect; False if it is gone or unnamed."""
    row = yield from _lock(failure.key)
    found = yield from _standing(row, failure)
    item_id = failure.item_id if name is None else id_of(name)
    if row is None or found is None or item_id is None:
        return False
    stream = Stream(failure.key)
    entries: dict[ItemId, bytes | None] = {item_id: found.fingerprint}
    is_new = yield from _is_new(stream, row, item_id)
    # Tokens follow the clock: this one is in order with those of the workers.
    appended = yield from ledger.append(
        row.key_id,
        row.generation,
        stream.membership,
        entries,
        row.now_us,
        barrier_seq=row.barrier_seq,
    )
    yield from failures.resolve_hole(row.key_id, row.generation, found)
    counts = {"items": int(is_new), "changed": int(not is_new)}
    yield Statement(
        "failure.settle", {"key_id": row.key_id, "head_seq": appended.head_seq, **counts}
    )
    yield Statement("failure.count", {"key_id": row.key_id, "generation": row.generation})
    yield from audit.note(actor, "skip", failure.key, {**_detail(failure), "item_id": item_id})
    return True


def quarantine(actor: str, key: Key, item_id: ItemId, reason: str) -> Program[int]:
    """Put one item aside by hand, seen or not; its failure_id."""
    yield from checkpoints.ensure(key)
    row = yield from _lock(key)
    assert row is not None
    where = {"key_id": row.key_id, "generation": row.generation}
    name, error = id_text(item_id), storable(reason)
    found = yield from failures.among(row.key_id, row.generation, [name])
    if found:
        yield from failures.quarantine(found[0].failure_id, error)
    elif not (yield from _is_new(Stream(key), row, item_id)):
        raise UsageError(
            f"{item_id!r} of {key} is committed already: there is nothing to withhold. Nothing was "
            f"written. To process it again, see content= of fresh."
        )
    else:
        made = failures.Failed(None, "quarantined", 0, row.now_us, error, "", None, None)
        yield Statement(
            "failure.save", {**where, **made._asdict(), "item_id": name, "token": row.now_us}
        )
        yield Statement("failure.count", where)
        found = yield from failures.among(row.key_id, row.generation, [name])
    detail = {"failure_id": found[0].failure_id, "item_id": item_id, "reason": error}
    yield from audit.note(actor, "quarantine", key, detail)
    return found[0].failure_id


def _lock(key: Key) -> Program[StreamRow | None]:
    key_id = yield from checkpoints.find(key)
    rows = yield Statement("failure.lock", {"key_id": key_id})
    return StreamRow(*rows[0]) if rows else None


def _standing(row: StreamRow | None, failure: Failure) -> Program[Standing | None]:
    """The failure's row as it stands now, if it is still there."""
    if row is None:
        return None
    rows = yield Statement("failure.standing", {"failure_id": failure.failure_id})
    return Standing(*rows[0]) if rows else None


def _is_new(stream: Stream, row: StreamRow, item_id: ItemId) -> Program[bool]:
    membership = stream.membership
    yield from ledger.refresh(row.key_id, row.generation, membership, row.head_seq)
    yield from ledger.resolve(row.key_id, membership, [item_id])
    return item_id in membership.unknown([item_id])


def _detail(failure: Failure) -> dict[str, object]:
    return {
        "failure_id": failure.failure_id,
        "item_id": failure.item_id,
        "attempts": failure.attempts,
        "error": failure.error[:200],
    }


def _failure(row: Row) -> Failure:
    failure_id, pipeline, entity, stream, name, status, attempts, next_try_us, event_us = row[:9]
    error, traceback, first_us, last_us, token, *payload = row[9:]
    item = None
    if payload and payload[0] is not None:
        item = load_item(payload[0], f"the payload of failure {failure_id}")
    return Failure(
        failure_id=failure_id,
        key=Key(pipeline, entity, stream),
        item_id=id_of(name),
        status=status,
        attempts=attempts,
        next_try_at=from_us(next_try_us),
        event_at=None if event_us is None else from_us(event_us),
        error=error,
        traceback=traceback,
        first_failed_at=from_us(first_us),
        last_failed_at=from_us(last_us),
        token=token,
        payload=item,
    )
