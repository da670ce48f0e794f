"""Seats: the common half of engines whose workers are asked, one batch each at a time.

A thread of ours waits for each worker, so an engine needs no callbacks, and knows at which batch a
worker died.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from belaypin.pipeline.engines import Call, WorkerDied

__all__ = ["Seat", "Seats"]

_EXIT_S = 10.0


class Seat(Protocol):
    """Where one batch at a time is worked on."""

    def begin(self) -> None:
        """Wait until there is a worker; after one died, until there is another."""

    def ask(self, call: Call, text: bytes) -> bytes:
        """Have ``call(text)`` made, and wait for its result. Raises WorkerDied."""

    def end(self) -> None:
        """Let the worker go."""


class _Job(NamedTuple):
    future: Future[bytes]
    call: Call
    text: bytes


class Seats:
    """So many seats, and a queue in front of them."""

    def __init__(self, name: str, seats: Sequence[Seat]) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_stopping = False
        self._threads = [
            threading.Thread(
                target=self._serve, args=(s,), name=f"belaypin-{name}-{n}", daemon=True
            )
            for n, s in enumerate(seats, 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Queue the call for the next free seat."""
        future: Future[bytes] = Future()
        self._jobs.put(_Job(future, call, text))
        return future

    def stop(self) -> None:
        """Call off what waits in the queue."""
        self._is_stopping = True

    def close(self, *, at_once: bool) -> None:
        """End the seats as they get free; ``at_once`` does not wait for that."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            if not at_once:
                thread.join(_EXIT_S)

    def _serve(self, seat: Seat) -> None:
        trouble = _trouble(seat)
        while (job := self._jobs.get()) is not None:
            if self._is_stopping:
                job.future.cancel()
            elif trouble is not None:
                job.future.set_exception(trouble)
            elif not _answer(seat, job):
                trouble = _trouble(seat)
        if trouble is None:
            seat.end()


def _trouble(seat: Seat) -> Exception | None:
    """Why there is no worker; None: there is one."""
    try:
        seat.begin()
    except Exception as error:  # noqa: BLE001 -- whoever waits for the next batch gets it
        return error
    return None


def _answer(seat: Seat, job: _Job) -> bool:
    """Answer the job; whether its worker is still alive."""
    try:
        job.future.set_result(seat.ask(job.call, job.text))
    except WorkerDied as death:
        job.future.set_exception(death)
        return False
    except Exception as error:  # noqa: BLE001 -- whoever waits for the future gets it
        job.future.set_exception(error)
    return True
