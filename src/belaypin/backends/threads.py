"""Blocking calls in asyncio: made in a thread, and waited for whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(
    threads: ThreadPoolExecutor | None,
    call: Callable[..., T],
    *args: Any,
    stop: Callable[[], None] = lambda: None,
) -> T:
    """Make a blocking call in a thread; if we are cancelled, wait for its end all the same.

    ``stop`` is called then: it may tell a long call to end early.
    """
    future = asyncio.get_running_loop().run_in_executor(threads, call, *args)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        future.exception()  # so that it counts as retrieved: the cancellation goes first
        raise cancelled
    return future.result()
