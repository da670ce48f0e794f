"""One method of a store, in either colour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import belaypin

__all__ = ["Call", "call_async", "call_sync"]

Call = Callable[..., Any]


def call_sync(url: str, method: str, *args: Any, **options: Any) -> Any:
    """Open the store at ``url`` for one call."""
    with belaypin.open(url) as store:
        return getattr(store, method)(*args, **options)


def call_async(url: str, method: str, *args: Any, **options: Any) -> Any:
    """Open the store at ``url`` for one call, in asyncio."""

    async def run() -> Any:
        async with await belaypin.aopen(url) as store:
            return await getattr(store, method)(*args, **options)

    return asyncio.run(run())
