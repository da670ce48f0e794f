"""Async functions of users in a runner of threads.

All of them run on one event loop of the process, so that a client of theirs (a session, a pool) is
used from one loop only. What touches the database stays in the thread that has the transaction: it
serves the calls of the function's ``await tx.execute(...)`` until that has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import wait
from typing import Any, TypeVar

from belaypin.pipeline.stopping import Stop

__all__ = ["AwaitedTx", "each", "run", "run_at_home"]

T = TypeVar("T")

_LOOK_S = 0.25

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def run(awaitable: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs on the loop; if we are interrupted, it is cancelled."""
    future = asyncio.run_coroutine_threadsafe(awaitable, _the_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def each(source: AsyncIterator[T], stop: Stop | None = None) -> Iterator[T]:
    """What an async generator yields, one by one, until it is time to stop. Then it is closed."""
    end = object()

    async def following() -> Any:
        return await anext(source, end)

    try:
        while (found := _unless_stopped(following(), stop, end)) is not end:
            yield found
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                run(close())


def _unless_stopped(awaitable: Coroutine[Any, Any, T], stop: Stop | None, end: T) -> T:
    future = asyncio.run_coroutine_threadsafe(awaitable, _the_loop())
    try:
        while not wait([future], _LOOK_S).done:
            if stop is not None and stop.is_set():
                future.cancel()
                return end
        return future.result()
    except BaseException:
        future.cancel()
        raise


def run_at_home(
    function: Callable[..., Coroutine[Any, Any, T]], tx: Any, *args: Any, **named: Any
) -> T:
    """Run an async function that is given a ``tx``; this thread does what it awaits of it."""
    calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
    loop = _the_loop()
    awaited = AwaitedTx(tx, lambda call: _posted(loop, calls, call))

    async def whole() -> T:
        try:
            return await function(awaited, *args, **named)
        finally:
            calls.put(None)

    future = asyncio.run_coroutine_threadsafe(whole(), loop)
    try:
        while (call := calls.get()) is not None:
            call()
        return future.result()
    except BaseException:
        future.cancel()
        raise


class AwaitedTx:
    """``tx`` for async functions: its calls are awaited, and made in the thread that has it."""

    def __init__(self, tx: Any, post: Callable[[Callable[[], Any]], Any]) -> None:
        self._tx = tx
        self._post = post

    async def execute(self, sql: str, params: Any = ()) -> Any:
        """As ``tx.execute``."""
        return await self._post(lambda: self._tx.execute(sql, params))

    async def executemany(self, sql: str, rows: Any) -> None:
        """As ``tx.executemany``."""
        await self._post(lambda: self._tx.executemany(sql, rows))

    async def copy(self, table: str, columns: Any, rows: Any) -> None:
        """As ``tx.copy``."""
        await self._post(lambda: self._tx.copy(table, columns, rows))

    async def send(self, topic: str, payload: object, *, key: str) -> bool:
        """As ``tx.send``."""
        sent: bool = await self._post(lambda: self._tx.send(topic, payload, key=key))
        return sent

    def __getattr__(self, name: str) -> Any:
        """Whatever needs no waiting: ``kind``, ``idempotency_key``."""
        return getattr(self._tx, name)


def _posted(
    loop: asyncio.AbstractEventLoop,
    calls: queue.SimpleQueue[Callable[[], None] | None],
    call: Callable[[], Any],
) -> asyncio.Future[Any]:
    answer: asyncio.Future[Any] = loop.create_future()

    def do() -> None:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 -- the function that awaits it gets it
            loop.call_soon_threadsafe(_answer, answer, None, error)
        else:
            loop.call_soon_threadsafe(_answer, answer, result, None)

    calls.put(do)
    return answer


def _answer(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _the_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            thread = threading.Thread(target=_loop.run_forever, name="belaypin-async", daemon=True)
            thread.start()
        return _loop
