"""Live events: batches that commit like pages and cover the time while we listened."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Self

from belaypin._async.commit import AsyncCommit
from belaypin._async.tenure import AsyncTenure
from belaypin.errors import NotCommitted, UsageError
from belaypin.programs import pages
from belaypin.programs.courses import BatchCourse, Handling, LiveCourse
from belaypin.programs.pages import Stream
from belaypin.retry import Retry
from belaypin.times import At

if TYPE_CHECKING:
    from belaypin._async.joined import AsyncJoined

__all__ = ["AsyncBatch", "AsyncLive"]


class AsyncLive(AbstractAsyncContextManager["AsyncLive"]):
    """Listening to a stream. Each commit covers the time from connecting until that commit.

    If the connection breaks, if a batch is not committed, or if we die, the time until the next
    commit stays a gap, for ``windows`` to fetch.
    """

    def __init__(
        self,
        tenure: AsyncTenure,
        stream: Stream,
        at: At,
        settle_us: int,
        retry: Retry,
    ) -> None:
        self._tenure = tenure
        self._stream = stream
        self._at = at
        self._settle_us = settle_us
        self._retry = retry
        self._course: LiveCourse | None = None

    async def __aenter__(self) -> Self:
        fence = self._tenure.fence()
        try:
            async with self._tenure.open_transaction() as transaction:
                row = await transaction.run(pages.begin(fence, self._stream))
        except BaseException:
            self._stream.ended(durable=False)
            raise
        self._stream.ended(durable=True)
        # An open window of this role stays open: its cursor is for windows() to go on from.
        stored = row.open_windows().get(fence.role)
        self._course = LiveCourse(
            self._stream.key, self._at, self._settle_us, stored, row.now_us, Handling(self._retry)
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self._course = None

    def batch(self, items: Sequence[Any]) -> AsyncBatch:
        """Events that came together, to be committed like a page."""
        if self._course is None:
            raise UsageError("Not listening: use `with lease.live(...) as live`.")
        return AsyncBatch(self._tenure, self._stream, self._course.batch(), list(items))

    async def batches(
        self, source: AsyncIterable[Sequence[Any]] | Iterable[Sequence[Any]]
    ) -> AsyncIterator[AsyncBatch]:
        """Each list of events that ``source`` yields, as a batch; an empty one is a heartbeat.

        Raises NotCommitted if a batch with events was not committed when the next one is due.
        """
        async for items in _each(source):
            if not items:
                await self.heartbeat()
                continue
            batch = self.batch(items)
            yield batch
            if not batch.is_committed:
                raise NotCommitted(
                    f"A batch of {len(batch.items)} live events was not committed. Commit every "
                    f"batch; those that were not are left to a gap that windows() will fetch."
                )

    async def heartbeat(self) -> None:
        """The source is alive and had nothing new: cover the time until now."""
        async with self.batch([]).commit():
            pass


class AsyncBatch:
    """Events that came together. Commit them like a page."""

    def __init__(
        self,
        tenure: AsyncTenure,
        stream: Stream,
        course: BatchCourse,
        items: list[Any],
    ) -> None:
        self.items = items
        self._tenure = tenure
        self._stream = stream
        self._course = course

    @property
    def is_committed(self) -> bool:
        """Whether this batch's commit has succeeded."""
        return self._course.is_committed

    def commit(self, joined: AsyncJoined | None = None) -> AsyncCommit:
        """The transaction that commits these events: ``with batch.commit() as tx``.

        ``joined`` is as in ``page.commit``. Raises NotCommitted if they were committed before.
        """
        self._course.check()
        span = self._tenure.trace.span
        return AsyncCommit(self._tenure, self._stream, self._course, joined, span)


async def _each(source: Any) -> AsyncIterator[Any]:
    # sync: off
    if not hasattr(source, "__aiter__"):
        for items in source:
            yield items
        return
    # sync: on
    async for items in source:
        yield items
