"""The store that the dashboard reads: opened when first needed, and again after it was down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import belaypin
from belaypin.clock import monotonic_s
from belaypin.errors import StoreUnavailable

__all__ = ["Sample", "Samples", "Source"]

_OPEN_S = 5.0
"""So long may it take to open the store before a page says that it can't be reached."""
_AGAIN_S = 2.0
"""So long after it could not be opened is it not tried again: pages answer at once meanwhile."""


class Source:
    """Opens the store with the first request that needs it; asks again when it was down."""

    def __init__(self, url: str, *, read_only: bool) -> None:
        self.url = url
        self.read_only = read_only
        self._store: belaypin.AsyncStore | None = None
        self._lock = asyncio.Lock()
        self._failed_s = -_AGAIN_S
        self._error: BaseException | None = None

    async def store(self) -> belaypin.AsyncStore:
        """The open store; raises what ``belaypin.aopen`` does."""
        if self._store is not None:
            return self._store
        async with self._lock:
            if self._store is None:
                self._store = await self._open()
            return self._store

    async def aclose(self) -> None:
        """Close the store, if it was opened."""
        store, self._store = self._store, None
        if store is not None:
            await store.aclose()

    async def _open(self) -> belaypin.AsyncStore:
        if self._error is not None and monotonic_s() - self._failed_s < _AGAIN_S:
            raise self._error.with_traceback(None)
        try:
            async with asyncio.timeout(_OPEN_S):
                return await belaypin.aopen(self.url, create=False, read_only=self.read_only)
        except TimeoutError as error:
            late = StoreUnavailable(f"The store did not answer within {_OPEN_S:g} s. Is it up?")
            self._note(late)
            raise late from error
        except belaypin.BelaypinError as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        self._error, self._failed_s = error, monotonic_s()


class Sample(NamedTuple):
    """A figure that was read in the background: what, when, and what it cost."""

    value: Any
    read_s: float
    cost_s: float

    @property
    def age_s(self) -> float:
        """Seconds since it was read."""
        return monotonic_s() - self.read_s


class Samples:
    """Figures that take long at a million entities: read in the background, shown with their age.

    A figure is read again when it is asked for and older than ``every_s`` or 20 times what reading it
    took, and half of that it rests at least beside somebody who writes: so the store spends at most a
    fortieth of its time on the dashboard then, and none when nobody looks. One at a time is read.
    """

    def __init__(self, every_s: float = 5.0, patience_s: float = 0.1) -> None:
        self._every_s = every_s
        self._patience_s = patience_s
        self._samples: dict[Any, Sample] = {}
        self._tasks: dict[Any, asyncio.Task[Sample]] = {}
        self._turn = asyncio.Lock()

    async def get(self, key: Any, read: Callable[[], Awaitable[Any]]) -> Sample | None:
        """The newest sample; None while the first one takes longer than a reader's patience.

        Raises what ``read`` raised if there is nothing else to show.
        """
        sample, task = self._samples.get(key), self._tasks.get(key)
        if sample is not None and sample.age_s < max(self._every_s, 20 * sample.cost_s):
            return sample
        if task is None:
            task = asyncio.create_task(self._read(key, read))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        # A quick figure is shown as it is now, a slow one as it was.
        patience_s = self._patience_s
        if sample is not None and sample.cost_s > patience_s:
            patience_s = 0
        await asyncio.wait((task,), timeout=patience_s)
        return task.result() if task.done() else sample

    async def aclose(self) -> None:
        """End what is being read."""
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self) -> None:
        """Read everything anew when it is next asked for: something was changed from here."""
        self._samples.clear()

    async def _read(self, key: Any, read: Callable[[], Awaitable[Any]]) -> Sample:
        async with self._turn:
            start_s = monotonic_s()
            value = await read()
            now_s = monotonic_s()
        sample = Sample(value, now_s, now_s - start_s)
        self._samples[key] = sample
        while len(self._samples) > _KEPT:
            del self._samples[next(iter(self._samples))]
        return sample

    def _done(self, key: Any, task: asyncio.Task[Sample]) -> None:
        self._tasks.pop(key, None)
        if not task.cancelled():
            task.exception()  # it is raised where the figure is asked for; nobody may be there now


_KEPT = 500
