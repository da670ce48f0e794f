"""The lease: the exclusive right to advance an entity in one role, and what it gives access to."""

from __future__ import annotations

import asyncio  # sync: from belaypin.clock import sleep_s
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from belaypin import intervals
from belaypin._async.change import AsyncChange
from belaypin._async.isolation import prepared
from belaypin._async.live import AsyncLive
from belaypin._async.taking import AsyncTaking
from belaypin._async.tenure import AsyncTenure
from belaypin._async.window import AsyncRetryWindow, AsyncWindow
from belaypin.backends.base import AsyncBackend
from belaypin.clock import jitter
from belaypin.components import Checkpointable
from belaypin.errors import Fenced, UsageError
from belaypin.fingerprint import fingerprint
from belaypin.heartbeat import Beat, Heartbeat
from belaypin.intervals import Intervals
from belaypin.keys import Key
from belaypin.processors import check_processor
from belaypin.program import Program
from belaypin.programs import (
    checkpoints,
    components,
    coverage,
    failures,
    leases,
    pages,
    runs,
    suspects,
)
from belaypin.programs import horizon as replay
from belaypin.programs.checkpoints import Offer
from belaypin.programs.components import Attached, Components
from belaypin.programs.courses import WindowCourse
from belaypin.programs.leases import Fence
from belaypin.programs.pages import OpenWindow, Stream, StreamRow
from belaypin.programs.suspects import Watch
from belaypin.retry import Retry
from belaypin.revisions import Revision, revision_number
from belaypin.schema import Schema
from belaypin.times import MIN_US, At, Duration, duration_us, since_us, to_us
from belaypin.tracing import LeaseTrace

__all__ = ["AsyncLease"]

C = TypeVar("C", bound=Checkpointable[Any])


class AsyncLease(AbstractAsyncContextManager["AsyncLease"]):
    """Who holds it may advance the entity's streams in its role; nobody else can at that time.

    Use it in a ``with`` block. It renews itself until the block ends. Should it be lost all the
    same (a pause longer than its lifetime), every write raises Fenced and changes nothing.
    """

    def __init__(
        self,
        backend: AsyncBackend,
        heartbeat: Heartbeat,
        key: Key,
        role: str,
        ttl_us: int,
        wait_us: int,
        limit_items: int,
        retry: Retry,
        history: int,
        epoch: str = "",
        tracer: Any = None,
    ) -> None:
        self.key = key
        self.role = role
        self._backend = backend
        self._heartbeat = heartbeat
        self._limit_items = limit_items
        self._retry = retry
        self._history = history
        self._taking = AsyncTaking(backend, key, role, ttl_us, wait_us)
        self._held: Fence | None = None
        self._beat: Beat | None = None
        self._is_lost = False
        self._streams: dict[str, Stream] = {}
        self._components = Components()
        self._trace = LeaseTrace(tracer, key, role)
        self._tenure = AsyncTenure(
            backend.transaction, self._fence, self._components, self._trace, epoch
        )
        self._unchanged: dict[int, str] = {}
        self._watches: dict[Key, Watch] = {}

    @property
    def token(self) -> int:
        """The fencing token: larger than that of every earlier holder of this lease."""
        return self._fence().token

    def __repr__(self) -> str:
        state = f"token {self._held.token}" if self._held else "not held"
        return f"<Lease on {self.key}, role {self.role}, {state}>"

    async def __aenter__(self) -> Self:
        await self.acquire()
        self._trace.span.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        try:
            if error is not None and not isinstance(error, Exception):
                pass  # sync: self._backend.forsake()
            await self._release(error)
        except Exception as release_error:
            # The lease ends by itself when its time is up; what went wrong in the block goes first.
            if error is None:
                raise
            error.add_note(f"and the lease could not be released: {release_error}")

    async def acquire(self) -> None:
        """Take the lease, waiting up to ``wait_s`` for it; the ``with`` block does it.

        Raises LeaseHeld, with who holds it and until when.
        """
        if self._held is not None:
            raise UsageError(f"{self!r} is held already; take another with store.lease().")
        span = self._trace.begin()
        try:
            found = await self._taking.take()
        except asyncio.CancelledError as stop:  # sync: except KeyboardInterrupt as stop:
            span.end(stop)
            # It may be ours without anybody knowing: nobody would renew or release it.
            await self._taking.abandon()
            raise
        except BaseException as error:
            span.end(error)
            raise
        self._held = found
        span.note(token=found.token)
        self._is_lost = False
        self._streams.clear()  # while nobody held it, it may have been rewound
        fence = found
        self._beat = self._heartbeat.add(
            lambda: leases.renew(fence), self._lose, self._taking.ttl_s
        )

    async def release(self) -> None:
        """End the lease for the next worker to take at once. The ``with`` block does it."""
        await self._release(None)

    async def windows(
        self,
        stream: str,
        *,
        since: str | timedelta | datetime,
        overlap: Duration = 0,
        until: datetime | None = None,
        settle: Duration = 0,
        at: At | None = None,
        horizon: Duration | None = None,
        processor: int = 0,
        retry: Retry | None = None,
    ) -> AsyncIterator[AsyncWindow]:
        """What is missing of the stream, one window after the other: gaps first, then the head.

        ``since``: how far back to go: a duration ("30d"), an aware datetime, or "beginning".
        ``overlap``: how much of what is covered the head reads again, as late items appear there;
        the ledger recognises those that were committed. ``until``: stop at this time instead of
        now. ``settle``: how young data may still change or come in; it is left for a later run.
        ``at``: an item's event time (field, dotted path, or callable that returns an aware
        datetime or ISO-8601 text with an offset). With it late items are counted, and the head
        counts as covered only up to the latest item that the source returned, so that no clock
        that is wrong and no lag of the source can hide an item for ever. ``processor``: the
        version of your code; raise it to have everything processed again, from an empty coverage.
        Code with a lower one can then write nothing more: SchemaTooNew.

        ``horizon`` (with ``at``): what is older than this, before now or before what is still
        missing, is too late for every worker of the stream from now on: counted, never processed,
        and ``store.gc`` drops its ids. ``at`` must never change for an item then: when it was
        created, not when it was edited.

        ``retry``: what becomes of items that fail in ``tx.attempt``. Those whose time has come
        are the first window (``is_retry``), whose pages come from the store, not from fetch.

        A window that an earlier worker of this role had begun comes next, at its cursor. If you
        leave a window half-way, it is the last: its cursor is kept for the next call.
        """
        self._fence()
        wanted = _Wanted(
            since,
            until,
            duration_us(overlap, "overlap"),
            duration_us(settle, "settle"),
            at,
            replay.length_us(horizon, at),
        )
        async for window in self._windows(
            self._stream(stream, processor), wanted, retry or Retry()
        ):
            with window._traced(self._trace.span):
                yield window

    async def attach(
        self, name: str, component: C, *, type: Any = object, schema: Schema | None = None
    ) -> C:
        """Checkpoint a component with every commit of this lease; returns the component.

        It is restored at once from its state at ``Key(pipeline, entity, name)``, if there is one,
        and saved in the transaction of each commit (of a page, a batch or changed content) that it
        has changed by. If a commit is undone it is restored to the last one, so change it inside
        the commit block. ``type`` is what its ``snapshot`` returns (default: JSON data), ``schema``
        the version of that. Once its ``is_complete`` is True the checkpoint has ``completed_at``.

        Raises SchemaTooNew if newer code has saved its state, UsageError if it is no component.
        """
        fence = self._fence()
        attached = Attached(self.key.child(name), component, type, schema, self._history)
        async with self._backend.transaction(write=False) as transaction:
            row = await transaction.run(checkpoints.read(attached.key))
        if row is None:
            async with self._backend.transaction() as transaction:
                row = await transaction.run(components.open_row(fence, attached.key))
        attached.restore(row)
        self._components.add(name, attached)
        return component

    def changed(
        self,
        stream: str,
        content: Any,
        *,
        ignore: Iterable[str] = (),
        revision: Revision | None = None,
        processor: int = 0,
    ) -> AsyncChange:
        """Whether ``content`` (a JSON-like document) differs from what was committed last.

        ``ignore`` names top-level fields or dotted paths that don't count, such as a fetch time.
        ``revision``: a number, an aware datetime or ISO 8601 text that grows with each edit; older
        content than what was committed is "stale", and skipped. ``processor``: the version of your
        code; with a higher one the content counts as changed once.

        Raises UsageError if the content has no canonical form (NaN, integers beyond 2^53), and
        SchemaTooNew if code with a higher ``processor`` has committed it.
        """
        if stream in self._components:
            raise UsageError(
                f"A component is attached as {stream!r}, and its key has one version for both: "
                f"give the content another name."
            )
        offer = Offer(
            fingerprint(content, ignore=ignore),
            None if revision is None else revision_number(revision),
            check_processor(processor),
        )
        return AsyncChange(
            self._tenure,
            self.key.child(stream),
            offer,
            self._unchanged.__setitem__,
        )

    def live(
        self,
        stream: str,
        *,
        at: At,
        settle: Duration = 0,
        processor: int = 0,
        retry: Retry | None = None,
    ) -> AsyncLive:
        """Listen to the stream: ``with lease.live("posts", at="created_at") as live``.

        ``at`` is an event's time, ``processor`` the version of your code, as in ``windows``.
        ``settle`` is how late an event may still come in: so much less than the time until now is
        covered. ``retry``: what becomes of events that fail in ``tx.attempt``; they come back with
        ``windows``.
        """
        settle_us = duration_us(settle, "settle")
        return AsyncLive(
            self._tenure, self._stream(stream, processor), at, settle_us, retry or Retry()
        )

    async def _windows(
        self, stream: Stream, wanted: _Wanted, retry: Retry
    ) -> AsyncIterator[AsyncWindow]:
        row, done = await self._read(stream)
        since_at_us, until_us = wanted.span_us(row.now_us)
        is_open, at = wanted.until is None, wanted.at
        declared_us = replay.declared_us(done, since_at_us, row.now_us, wanted.horizon_us)
        since_at_us = replay.reach_us(stream.key, done, since_at_us, until_us, row.horizon_us)
        stored = row.open_windows().get(self.role)
        handling = await prepared(self._tenure, self._watches, stream.key, row, retry)
        if row.failures and await self._has_due(row):
            asked = OpenWindow(since_at_us, max(since_at_us, until_us), False, MIN_US)
            course = WindowCourse(stream.key, asked, stored, at, handling)
            yield AsyncRetryWindow(self._tenure, stream, course)
            _, done = await self._read(stream)
        begun = pages.resumable(stored, since_at_us, until_us, is_open=is_open)
        if begun is not None:
            course = WindowCourse(stream.key, begun, stored, at, handling, declared_us)
            yield AsyncWindow(self._tenure, stream, course)
            stored = course.stored
            if stored is not None:
                return
            _, done = await self._read(stream)
        rereads = is_open and begun is None
        for span in coverage.plan(done, since_at_us, until_us, wanted.overlap_us, is_open=rereads):
            caps = is_open and span.is_head and at is not None
            window = OpenWindow(*span, caps_at_newest=caps)
            course = WindowCourse(stream.key, window, stored, at, handling, declared_us)
            yield AsyncWindow(self._tenure, stream, course)
            stored = course.stored
            if course.is_half_way:
                return

    async def _release(self, error: BaseException | None) -> None:
        """End the lease, and note how: its work ended well, failed, or was told to stop."""
        with self._trace.span.ending(error):
            await self._let_go(error)

    async def _let_go(self, error: BaseException | None) -> None:
        fence, self._held = self._held, None
        if fence is None:
            return
        if self._beat is not None:
            self._heartbeat.remove(self._beat)
        unchanged, self._unchanged = self._unchanged, {}
        watches, self._watches = self._watches, {}
        try:
            async with self._backend.transaction() as transaction:
                acquired_us = await transaction.run(leases.release(fence))
                if acquired_us is not None:
                    if watches:
                        await transaction.run(suspects.clear(fence))
                    notes = {
                        key_id: checkpoints.unchanged(key_id, content_hash)
                        for key_id, content_hash in unchanged.items()
                    }
                    notes[fence.key_id] = self._ending(fence, acquired_us, error)
                    # In one order for every worker, so that no two of them deadlock.
                    for key_id in sorted(notes):
                        await transaction.run(notes[key_id])
        except asyncio.CancelledError:  # sync: except KeyboardInterrupt:
            await self._taking.abandon()
            raise

    def _ending(self, fence: Fence, acquired_us: int, error: BaseException | None) -> Program[None]:
        if error is None:
            return runs.ended(fence, acquired_us)
        if not isinstance(error, Exception):
            return runs.interrupted(fence)
        return runs.failed(fence, runs.Failure(error, self._retry, jitter(0, 1)))

    async def _read(self, stream: Stream) -> tuple[StreamRow, Intervals]:
        async with self._backend.transaction(write=False) as transaction:
            row = await transaction.run(pages.read(stream))
            done = await transaction.run(coverage.covered(row.key_id, row.generation))
            if row.failures:  # their holes are retried from the store, not fetched again
                kept = await transaction.run(failures.holes(row.key_id, row.generation))
                done = intervals.normalise([*done, *kept])
            return row, done

    async def _has_due(self, row: StreamRow) -> bool:
        async with self._backend.transaction(write=False) as transaction:
            due = failures.due(row.key_id, row.generation, row.now_us, 0, 1)
            return bool(await transaction.run(due))

    def _stream(self, name: str, processor: int) -> Stream:
        checked = check_processor(processor)
        known = self._streams.get(name)
        if known is None or known.processor != checked:
            known = Stream(self.key.child(name), self._limit_items, processor=checked)
            self._streams[name] = known
        return known

    def _fence(self) -> Fence:
        if self._held is None:
            raise UsageError(f"The lease on {self.key} is not held: use `with store.lease(...)`.")
        if self._is_lost:
            raise Fenced(
                f"The lease on {self.key} (role {self.role}, token {self._held.token}) was lost: "
                f"this worker stood still for longer than its lifetime, and another took over. "
                f"Nothing was written. Stop this work, or take a new lease to go on."
            )
        return self._held

    def _lose(self) -> None:
        self._is_lost = True
        self._trace.span.event("lease_lost")


class _Wanted(NamedTuple):
    """What a call of ``windows`` asks for."""

    since: str | timedelta | datetime
    until: datetime | None
    overlap_us: int
    settle_us: int
    at: At | None
    horizon_us: int | None

    def span_us(self, now_us: int) -> tuple[int, int]:
        """From when until when. Raises UsageError."""
        settled_us = now_us - self.settle_us
        until_us = settled_us if self.until is None else to_us(self.until, "until")
        return since_us(self.since, now_us), min(until_us, settled_us)
