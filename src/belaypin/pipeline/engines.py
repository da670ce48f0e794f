"""Engines: where batches of entities are worked on.

An engine takes a function and a text of bytes, and returns a future of the bytes that the function
returned. It is told how many batches it may be given at once, and needs to know nothing else. To
call a batch twice, or to lose it with its worker, does no harm: each entity takes its lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib import import_module
from queue import SimpleQueue
from typing import Protocol

import belaypin
from belaypin.fields import describe

__all__ = ["Engine", "ExecutorEngine", "Serial", "Threads", "WorkerDied", "engine_of"]

Call = Callable[[bytes], bytes]

_OUTSIDE = {"processes", "dask", "ray"}
"""Engines that live in a module of their own, which has ``make(argument: str) -> Engine``."""


class WorkerDied(Exception):
    """The worker of a batch died at it: the batch is to be given to another one."""


class Engine(Protocol):
    """Where batches are worked on.

    ``slots`` batches can be worked on at once, in ``processes`` processes. ``is_local``: in threads
    of this process, which use the runner's own store and pipeline.
    """

    slots: int
    processes: int
    is_local: bool

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Have ``call(text)`` made. The future may fail with WorkerDied: then it is made again."""

    def stop(self) -> None:
        """Tell the workers to stop after the page in hand, if there is a way; don't wait."""

    def close(self, *, at_once: bool) -> None:
        """End the workers: those that are idle, or, ``at_once``, all of them."""


class Serial:
    """In the thread of the caller, one batch after the other."""

    slots = 1
    processes = 1
    is_local = True

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Make the call at once."""
        future: Future[bytes] = Future()
        future.set_result(call(text))
        return future

    def stop(self) -> None:
        """Nothing is at work but the caller."""

    def close(self, *, at_once: bool) -> None:
        """There is nothing to end."""


class Threads:
    """In so many threads of this process. They end with it, even if one of them hangs."""

    processes = 1
    is_local = True

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._calls: SimpleQueue[tuple[Future[bytes], Call, bytes] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"belaypin-worker-{n}", daemon=True)
            for n in range(1, slots + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Queue the call for the next thread that is free."""
        future: Future[bytes] = Future()
        self._calls.put((future, call, text))
        return future

    def stop(self) -> None:
        """Threads of this process see for themselves that it is time to stop."""

    def close(self, *, at_once: bool) -> None:
        """End the threads when they are free; ``at_once`` does not wait for that."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            if not at_once:
                thread.join()

    def _serve(self) -> None:
        while (found := self._calls.get()) is not None:
            future, call, text = found
            try:
                result = call(text)
            except BaseException as error:  # noqa: BLE001 -- whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(result)


class ExecutorEngine:
    """Any ``concurrent.futures.Executor``. It stays open: it is its owner's."""

    def __init__(self, executor: Executor, slots: int | None = None) -> None:
        self.is_local = isinstance(executor, ThreadPoolExecutor)
        self.slots = slots or getattr(executor, "_max_workers", None) or 4
        self.processes = 1 if self.is_local else self.slots
        self._executor = executor
        self._futures: set[Future[bytes]] = set()

    def submit(self, call: Call, text: bytes) -> Future[bytes]:
        """Submit the call."""
        future = self._executor.submit(call, text)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def stop(self) -> None:
        """Call off what has not begun."""
        for future in list(self._futures):
            future.cancel()

    def close(self, *, at_once: bool) -> None:
        """Leave it to its owner; ``at_once`` calls off what has not begun."""
        if at_once:
            self.stop()


def engine_of(engine: str | Executor | Engine) -> Engine:
    """The engine that is meant: "serial", "threads:8", "processes:4", "dask", "ray" or an executor.

    Raises UsageError for anything else, and MissingDriver if an extra is to be installed.
    """
    if isinstance(engine, Executor):
        return ExecutorEngine(engine)
    if not isinstance(engine, str):
        if all(hasattr(engine, name) for name in ("slots", "submit", "stop", "close")):
            return engine
        raise _unknown(engine)
    name, _, argument = engine.partition(":")
    if name == "serial" and not argument:
        return Serial()
    if name == "threads":
        return Threads(count_of(engine, argument))
    if name in _OUTSIDE:
        made: Engine = import_module(f"belaypin.pipeline.{name}").make(argument)
        return made
    raise _unknown(engine)


def count_of(engine: str, argument: str) -> int:
    """The number of workers behind the colon; 4 if there is none. Raises UsageError."""
    if not argument:
        return 4
    if not argument.isascii() or not argument.isdecimal() or not 1 <= int(argument) <= 1000:
        raise belaypin.UsageError(f"{engine!r}: the number of workers must be 1 to 1000.")
    return int(argument)


def _unknown(engine: object) -> belaypin.UsageError:
    return belaypin.UsageError(
        f"{describe(engine)} is no engine: use 'serial', 'threads:4', 'processes:4', 'dask', "
        f"'dask:ADDRESS', 'ray', 'ray:ADDRESS', or an executor of concurrent.futures."
    )
