"""The loop as a user writes it, and what the checks share to drive it."""

from __future__ import annotations

import asyncio  # sync: from belaypin.testing.conformance.threads import in_threads, sleep_s
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from belaypin._async.lease import AsyncLease
from belaypin._async.live import AsyncLive
from belaypin._async.store import AsyncStore
from belaypin._async.window import AsyncWindow
from belaypin._async.work import AsyncWork
from belaypin.clock import Clock
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.source import Item, Source, minute

__all__ = [
    "KEY",
    "commit_all",
    "effects",
    "hear",
    "mine",
    "opened",
    "pause",
    "spans",
    "together",
    "write",
]

T = TypeVar("T")

KEY = ("shop", "user:7", "posts")
"""The stream that most checks work on."""


async def opened(
    place: AsyncPlace, *, clock: Clock | None = None, ledger_items: int = 1000
) -> AsyncStore:
    """A store, and a table of the user's that has no unique key: a duplicate would show."""
    store = await place.open(clock=clock, ledger_items=ledger_items)
    await store.execute("CREATE TABLE IF NOT EXISTS effect (id TEXT, body TEXT)")
    return store


def effects(place: AsyncPlace) -> list[str]:
    """The ids in the user's table, sorted, read by other means than belaypin's."""
    return sorted(row[0] for row in place.query("SELECT id FROM effect"))


async def write(place: AsyncPlace, tx: AsyncWork, items: Sequence[Item]) -> None:
    """Write a row of the user's for each item."""
    insert = place.sql("INSERT INTO effect (id, body) VALUES (?, ?)")
    await tx.executemany(insert, [(str(item["id"]), item["body"]) for item in items])


async def commit_all(
    place: AsyncPlace, window: AsyncWindow, fetch: Callable[[Any], Any], **fresh: Any
) -> list[list[Item]]:
    """Commit every page of a window; returns what was fresh in each."""
    pages = []
    async for page in window.pages(fetch):
        async with page.commit() as tx:
            items = await tx.fresh(page.items, key="id", **fresh)
            await write(place, tx, items)
        pages.append(items)
    return pages


async def mine(
    place: AsyncPlace, lease: AsyncLease, source: Source, stream: str = KEY[2], **windows: Any
) -> list[Any]:
    """The whole loop: every window, every page, every fresh item; returns the fresh ids."""
    options = {"since": minute(0), **windows}
    found: list[Any] = []
    async for window in lease.windows(stream, **options):
        for items in await commit_all(place, window, source.within(window)):
            found += [item["id"] for item in items]
    return found


async def hear(place: AsyncPlace, live: AsyncLive, *items: Item) -> list[Any]:
    """Commit live events; returns the fresh ids."""
    async with live.batch(items).commit() as tx:
        fresh = await tx.fresh(items, key="id")
        await write(place, tx, fresh)
    return [item["id"] for item in fresh]


async def spans(
    lease: AsyncLease, stream: str = KEY[2], **options: Any
) -> list[tuple[float, float]]:
    """The windows as (start, end) in minutes of DAY; nothing is committed."""
    zero = minute(0)
    return [
        ((window.start - zero).total_seconds() / 60, (window.end - zero).total_seconds() / 60)
        async for window in lease.windows(stream, **options)
    ]


async def pause(seconds: float) -> None:
    """Let real time pass."""
    await asyncio.sleep(seconds)  # sync: sleep_s(seconds)


async def together(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | BaseException]:
    """Make the calls at the same time; returns what each returned or raised."""
    tasks = [call() for call in calls]  # sync: return in_threads(calls)
    return await asyncio.gather(*tasks, return_exceptions=True)  # sync: drop
