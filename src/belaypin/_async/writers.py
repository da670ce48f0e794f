"""Where writers come from. The writer itself is imported with the first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from belaypin.backends.base import AsyncBackend
from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.times import Duration, duration_us

if TYPE_CHECKING:
    from belaypin._async.writer import AsyncWriter

__all__ = ["AsyncWriters"]

Durability = Literal["sync", "async"]

_MAX_DELAY_S = {"sync": 0.0, "async": 1.0}


class AsyncWriters:
    """The writers of a store, which closes those that are still open."""

    _backend: AsyncBackend
    _history: int
    _writers: set[AsyncWriter]

    def writer(
        self,
        *,
        durability: Durability = "sync",
        max_items: int = 1000,
        max_delay_s: Duration | None = None,
        timeout_s: Duration = 30,
        drain_on_sigterm: bool = False,
    ) -> AsyncWriter:
        """Save many loose states in few commits: ``with store.writer() as writer``.

        With ``durability="sync"`` each save returns when it is durable; saves of many threads or
        tasks share a commit, which waits ``max_delay_s`` for more of them (default: not at all) and
        holds ``max_items`` at most. With "async" it returns at once, and ``max_items`` and
        ``max_delay_s`` (default: one second) bound what a crash can lose: see ``writer.bound``.

        ``timeout_s``: how long a save may wait for its turn, and ``flush`` and closing for the
        database. ``drain_on_sigterm``: on SIGTERM make all durable within 10 s, print a report to
        standard error, then do what was to be done before; only in the main thread.
        """
        from belaypin._async.writer import AsyncWriter

        if durability not in _MAX_DELAY_S:
            raise UsageError(f'durability must be "sync" or "async", not {describe(durability)}.')
        if type(max_items) is not int or max_items < 1:
            raise UsageError(f"max_items must be a number from 1, not {describe(max_items)}.")
        delay = _MAX_DELAY_S[durability] if max_delay_s is None else max_delay_s
        delay_s = duration_us(delay, "max_delay_s") / 1_000_000
        if durability == "async" and not delay_s:
            raise UsageError('max_delay_s must be more than 0: durability="sync" waits for none.')
        writer = AsyncWriter(
            self._backend,
            is_durable_first=durability == "sync",
            max_items=max_items,
            history=self._history,
            max_delay_s=delay_s,
            timeout_s=duration_us(timeout_s, "timeout_s") / 1_000_000,
            drain_on_sigterm=drain_on_sigterm,
            closed=self._writers.discard,
        )
        self._writers.add(writer)
        return writer

    async def _close_writers(self) -> None:
        if self._writers:
            try:
                await self._writers.pop().aclose()
            finally:
                await self._close_writers()
