"""Live events: batches that commit like pages and cover the time while we listened."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self

from belaypin._async.commit import AsyncCommit
from belaypin._async.work import OpenTransaction
from belaypin.errors import NotCommitted, UsageError
from belaypin.programs import pages
from belaypin.programs.leases import Fence
from belaypin.programs.pages import Counts, OpenWindow, Stream
from belaypin.times import At, event_time

__all__ = ["AsyncBatch", "AsyncLive"]


class AsyncLive(AbstractAsyncContextManager["AsyncLive"]):
    """Listening to a stream. Each commit covers the time from connecting until that commit.

    If the connection breaks (or we do), what comes before the next connection stays a gap, for
    ``windows`` to fetch.
    """

    def __init__(
        self,
        open_transaction: OpenTransaction,
        fence: Callable[[], Fence],
        stream: Stream,
        at: At,
        settle_us: int,
    ) -> None:
        self._open_transaction = open_transaction
        self._fence = fence
        self._event_us = event_time(at)
        self._settle_us = settle_us
        self._of = stream
        self._is_listening = False
        self._stored: OpenWindow | None = None
        self._connected_us = 0
        self._heard_us = 0

    async def __aenter__(self) -> Self:
        try:
            async with self._open_transaction() as transaction:
                row = await transaction.run(pages.begin(self._fence(), self._of))
        except BaseException:
            self._of.ended(durable=False)
            raise
        self._of.ended(durable=True)
        # An open window of this role stays open: its cursor is for windows() to go on from.
        self._stored = row.open_windows().get(self._fence().role)
        self._connected_us = self._heard_us = row.now_us
        self._is_listening = True
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_listening = False

    def batch(self, items: Sequence[Any]) -> AsyncBatch:
        """Events that came together, to be committed like a page."""
        return AsyncBatch(self, list(items))

    async def batches(
        self, source: AsyncIterable[Sequence[Any]] | Iterable[Sequence[Any]]
    ) -> AsyncIterator[AsyncBatch]:
        """Each list of events that ``source`` yields, as a batch; an empty one is a heartbeat.

        Raises NotCommitted if a batch with events was not committed when the next one is due.
        """
        async for items in _each(source):
            batch = self.batch(items)
            if not batch.items:
                await self.heartbeat()
                continue
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

    @property
    def stream(self) -> Stream:
        """The stream that is listened to."""
        if not self._is_listening:
            raise UsageError("Not listening: use `with lease.live(...) as live`.")
        return self._of


class AsyncBatch:
    """Events that came together. Commit them like a page."""

    def __init__(self, live: AsyncLive, items: list[Any]) -> None:
        self.items = items
        self.is_committed = False
        self._live = live
        self._covered_to_us = 0
        self.event_us = live._event_us
        self.late_before_us = live._heard_us

    def commit(self, joined: Any = None) -> AsyncCommit:
        """The transaction that commits these events: ``with batch.commit() as tx``."""
        live = self._live
        if self.is_committed:
            raise NotCommitted("This batch was committed already.")
        return AsyncCommit(
            live._open_transaction if joined is None else joined._open,
            live._fence(),
            live.stream,
            self,
            Counts(),
            is_joined=joined is not None,
        )

    @property
    def stored(self) -> OpenWindow | None:
        return self._live._stored

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        connected_us = self._live._connected_us
        self._covered_to_us = max(connected_us, now_us - self._live._settle_us)
        return self._live._stored, (connected_us, self._covered_to_us)

    def can_wait(self) -> bool:
        return False

    def moved(self, stored: OpenWindow | None, skipped: Counts, *, durable: bool) -> None:
        self._live._heard_us = self._covered_to_us
        self.is_committed = True


async def _each(source: Any) -> AsyncIterator[Any]:
    # sync: off
    if not hasattr(source, "__aiter__"):
        for items in source:
            yield items
        return
    # sync: on
    async for items in source:
        yield items
