"""Work that takes longer than a request: one of a kind at a time, its result kept until the next."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from belaypin import BelaypinError
from belaypin.clock import now_us
from belaypin.times import from_us

__all__ = ["Job", "Jobs"]


class Job:
    """What was started from a page, and what became of it."""

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title
        self.started_at = from_us(now_us())
        self.ended_at: datetime | None = None
        self.result: Any = None
        self.error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.ended_at is None

    async def run(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Do it, and keep what comes of it: what it raises is shown on the page it was started from."""
        try:
            self.result = await work()
        except BelaypinError as error:
            self.error = f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            self.error = "The dashboard was stopped. What was committed is safe."
            raise
        except Exception as error:  # noqa: BLE001 - the user's own work may raise anything; it is shown
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.ended_at = from_us(now_us())


class Jobs:
    """The newest job of each kind."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._newest: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def newest(self, name: str) -> Job | None:
        """The one that was started last; None: none was."""
        return self._jobs.get(name)

    def start(self, name: str, title: str, work: Callable[[], Awaitable[Any]]) -> bool:
        """Start one, unless one of its kind goes on; returns whether it was started."""
        last = self._jobs.get(name)
        if last is not None and last.is_running:
            return False
        job = self._jobs[name] = Job(name, title)
        task = self._newest[name] = asyncio.create_task(job.run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def settled(self, name: str, patience_s: float) -> Job:
        """The newest of a kind, once it has ended or a reader's patience has."""
        await asyncio.wait((self._newest[name],), timeout=patience_s)
        return self._jobs[name]

    async def aclose(self) -> None:
        """End what goes on; each step of it is a transaction, so nothing is left half done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
