"""What a store and a transaction of the user's own have in common: states, coverage, operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, TypeVar, overload

from belaypin import intervals
from belaypin._async.once import AsyncOnce
from belaypin.backends.base import AsyncTransaction
from belaypin.codec import dump_state, encode_frame, load_state
from belaypin.errors import UsageError
from belaypin.fingerprint import fingerprint
from belaypin.heartbeat import Heartbeat
from belaypin.ids import ItemId, check_new_ids, extract_ids
from belaypin.keys import Key
from belaypin.program import Program
from belaypin.programs import checkpoints, coverage, facts, history, outbox
from belaypin.programs.checkpoints import CheckpointRow, OriginalRow
from belaypin.records.checkpoints import Checkpoint, Interval, Original
from belaypin.schema import KEPT_VERSIONS, Schema, read_as_stored, read_state, version_of
from belaypin.times import Duration, duration_us, from_us, to_us

__all__ = ["AsyncRecords", "KeyLike"]

T = TypeVar("T")

KeyLike = Key | str | Sequence[str]


class AsyncRecords(ABC):
    """Reads and writes at a Key, each in one transaction that ``_open`` opens."""

    _history = KEPT_VERSIONS
    """How many states that were replaced are kept of each Key."""

    @abstractmethod
    def _open(self, *, write: bool = True) -> AbstractAsyncContextManager[AsyncTransaction]:
        """Open the transaction for one read or write."""

    @abstractmethod
    def _heartbeat_for_once(self) -> Heartbeat | None:
        """What renews an operation while it runs, if anything has to."""

    async def save(
        self,
        key: KeyLike,
        state: object,
        *,
        schema: Schema | None = None,
        expected_version: int | None = None,
    ) -> int:
        """Store a state at any Key; returns its new version.

        The state is a dict, dataclass, msgspec Struct or pydantic model, or any JSON value.
        ``schema`` says which version of its shape this is; the first state that it replaces of an
        older one is kept, see ``confirm_states``.
        ``expected_version`` is the one you loaded (0: there must be none yet): if somebody saved
        another since, VersionConflict is raised. SchemaTooNew if the state there was saved with a
        newer schema, UsageError if this state can't be kept without loss. Then nothing is written.
        """
        schema_version = version_of(schema)
        frame = encode_frame(dump_state(state), schema_version=schema_version)
        return await self._run(
            checkpoints.save(Key.of(key), frame, schema_version, expected_version, self._history)
        )

    @overload
    async def load(
        self, key: KeyLike, *, schema: Schema | None = None, version: int | None = None
    ) -> Checkpoint[Any] | None: ...
    @overload
    async def load(
        self,
        key: KeyLike,
        type: type[T],
        *,
        schema: Schema | None = None,
        version: int | None = None,
    ) -> Checkpoint[T] | None: ...
    async def load(
        self,
        key: KeyLike,
        type: Any = object,
        *,
        schema: Schema | None = None,
        version: int | None = None,
    ) -> Checkpoint[Any] | None:
        """The checkpoint at a Key, its state as ``type``; None if there is none.

        ``version``: with the state that it had then, None if that is no longer kept; see
        ``history``.

        A state of an older version than ``schema`` is upcast in memory; the next ``save`` with
        that schema stores it so. Raises CorruptRecord if what is stored is damaged, UsageError if
        it is no such type, and SchemaTooNew if newer code wrote it.
        """
        key = Key.of(key)
        version_of(schema)
        reading = checkpoints.read(key) if version is None else history.read(key, version)
        row = await self._run(reading, write=False)
        return _checkpoint(key, row, type, schema) if row is not None else None

    async def originals(self, key: KeyLike) -> list[Original]:
        """What newer schemas have replaced at a Key, until ``confirm_states``; oldest first.

        Their states are JSON data as they were saved, for you to look at or to save again.
        """
        key = Key.of(key)
        rows = await self._run(checkpoints.originals(key), write=False)
        return [_original(key, row) for row in rows]

    async def seen(self, key: KeyLike, ids: Iterable[Any]) -> set[Any]:
        """Those of the ids that are committed to the stream at ``key``."""
        wanted = list(ids)
        canonical = extract_ids(wanted, lambda value: value)
        check_new_ids(canonical)
        found = await self._committed(Key.of(key), canonical)
        return {value for value, item_id in zip(wanted, canonical, strict=True) if item_id in found}

    async def coverage(self, key: KeyLike) -> list[Interval]:
        """The intervals of event time that are wholly processed, in order."""
        done, _ = await self._run(_coverage(Key.of(key)), write=False)
        return [Interval(from_us(start), from_us(end)) for start, end in done]

    async def gaps(
        self, key: KeyLike, *, since: datetime | None = None, until: datetime | None = None
    ) -> list[Interval]:
        """The holes in the coverage from ``since`` to ``until`` (default: its two ends)."""
        done, _ = await self._run(_coverage(Key.of(key)), write=False)
        if not done and (since is None or until is None):
            return []
        start_us = done[0][0] if since is None else to_us(since, "since")
        end_us = done[-1][1] if until is None else to_us(until, "until")
        holes = intervals.gaps(done, start_us, end_us) if start_us < end_us else []
        return [Interval(from_us(start), from_us(end)) for start, end in holes]

    async def lag(self, key: KeyLike) -> timedelta | None:
        """How far the head (the end of the contiguous coverage) lies behind the database's clock.

        None as long as nothing is covered.
        """
        done, now_us = await self._run(_coverage(Key.of(key)), write=False)
        return timedelta(microseconds=now_us - done[0][1]) if done else None

    def once(
        self,
        operation_id: str,
        *,
        request: Any = None,
        ttl_s: Duration = 60,
        wait_s: Duration = 0,
        result_ttl: Duration | None = None,
    ) -> AsyncOnce:
        """Run something once under a stable id: ``with store.once("invoice:7") as op: if op: ...``.

        ``request`` (a JSON-like document) guards against one id for two different things:
        RequestMismatch. OperationRunning if another worker is at it and ``wait_s`` is over.
        ``result_ttl``: for how long its result is kept once it is done (None: for ever). That it
        was done is kept for ever in any case, so it is never run again; see ``result_expired``.
        """
        _check_operation_id(operation_id)
        return AsyncOnce(
            self._open,
            self._heartbeat_for_once(),
            operation_id,
            None if request is None else fingerprint(request),
            duration_us(ttl_s, "ttl_s"),
            duration_us(wait_s, "wait_s"),
            None if result_ttl is None else duration_us(result_ttl, "result_ttl"),
        )

    async def send(self, topic: str, payload: object, *, key: str) -> bool:
        """``tx.send`` in a transaction of its own or, when joined, in yours."""
        return await self._run(outbox.send(topic, payload, key))

    async def _committed(self, key: Key, ids: Sequence[ItemId]) -> Collection[ItemId]:
        return (await self._run(facts.find(key, ids), write=False)).proofs.keys()

    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        async with self._open(write=write) as transaction:
            return await transaction.run(program)


def _check_operation_id(value: object) -> None:
    if not isinstance(value, str) or not value:
        raise UsageError(
            f"An operation needs an id, a text that is the same on every attempt; got {value!r}."
        )
    check_new_ids([value])


def _coverage(key: Key) -> Program[tuple[intervals.Intervals, int]]:
    row = yield from checkpoints.read(key)
    if row is None:
        return [], 0
    done = yield from coverage.covered(row.key_id, row.generation)
    return done, row.now_us


def _checkpoint(key: Key, row: CheckpointRow, type_: Any, schema: Schema | None) -> Checkpoint[Any]:
    state = None
    if row.state is not None:
        what = f"the state at {key}"
        state = read_state(row.state, row.schema_version, type_, schema, what=what)
    return Checkpoint(
        key=key,
        state=state,
        version=row.version,
        schema_version=row.schema_version,
        content_hash=row.content_hash,
        status="open" if row.completed_us is None else "complete",
        attempts=row.attempts,
        created_at=from_us(row.created_us),
        updated_at=from_us(row.updated_us),
        completed_at=None if row.completed_us is None else from_us(row.completed_us),
        items=row.items,
        skipped=row.skipped,
        changed=row.changed,
        late=row.late,
        stale=row.stale,
        too_late=row.too_late,
        processor=row.processor,
    )


def _original(key: Key, row: OriginalRow) -> Original:
    what = f"the original at {key} of schema version {row.schema_version}"
    raw = read_as_stored(row.state, row.schema_version, what=what)
    state = load_state(raw, object)
    return Original(key, state, row.version, row.schema_version, from_us(row.replaced_us))
