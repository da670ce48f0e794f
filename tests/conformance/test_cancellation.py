"""Cancellation at every await: what was begun happened wholly or not at all, and nothing leaks."""

from __future__ import annotations

import asyncio
import itertools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any

import pytest

import belaypin
from belaypin.testing import FakeClock
from belaypin.testing.conformance.source import Source, events, minute
from tests.conformance.places import OFFERS, LocalAsyncPlace

Work = Callable[[belaypin.AsyncStore, str], Coroutine[Any, Any, None]]

STEPS = 60  # more than any of these has
LIMIT_S = 20


@types.coroutine
def _cancelled_at(
    coroutine: Coroutine[Any, Any, None], steps: frozenset[int]
) -> Generator[Any, Any, int]:
    """Drive ``coroutine`` and cancel its task whenever it waits for the n-th time, n in ``steps``.

    Returns how often it waited.
    """
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    for step in itertools.count():
        try:
            waiting = resume(value)
        except StopIteration:
            return step
        if step in steps:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        try:
            value, resume = (yield waiting), coroutine.send
        except BaseException as error:  # noqa: BLE001 -- passed on to the coroutine
            value, resume = error, coroutine.throw
    raise AssertionError


async def _pages(lease: Any, source: Source) -> AsyncIterator[Any]:
    async for window in lease.windows("posts", since=minute(0)):
        async for page in window.pages(source.fetch):
            yield page


async def _commit(store: belaypin.AsyncStore, name: str) -> None:
    async with store.lease("shop", name, ttl_s=60) as lease:
        async for page in _pages(lease, Source(events(6))):
            async with page.commit() as tx:
                fresh = await tx.fresh(page.items, key="id")
                ids = [f"{name} {item['id']}" for item in fresh]
                for item_id in ids[:1]:
                    await tx.execute(f"INSERT INTO effect (id) VALUES ('{item_id}')")
                await tx.copy("effect", ["id"], [(item_id,) for item_id in ids[1:]])


async def _change(store: belaypin.AsyncStore, name: str) -> None:
    async with (
        store.lease("shop", name, ttl_s=60) as lease,
        lease.changed("profile", {"name": name}) as change,
    ):
        if change:
            await change.tx.execute(f"INSERT INTO effect (id) VALUES ('{name}')")


async def _once(store: belaypin.AsyncStore, name: str) -> None:
    async with store.once(name, ttl_s=60) as op:
        if op:
            await op.tx.execute(f"INSERT INTO effect (id) VALUES ('{name}')")


async def _save(store: belaypin.AsyncStore, name: str) -> None:
    async with (
        store.lease("shop", name, ttl_s=60) as lease,
        lease.live("events", at="at") as live,
        live.batch(events(1)).commit() as tx,
    ):
        if await tx.fresh(events(1), key="id"):
            await tx.execute(f"INSERT INTO effect (id) VALUES ('{name}')")
    await store.save(("shop", name), name)
    await store.load(("shop", name))


@pytest.mark.parametrize("database", OFFERS)
@pytest.mark.parametrize(("work", "effects"), [(_commit, 6), (_change, 1), (_once, 1), (_save, 1)])
@pytest.mark.parametrize("times", [1, 2])
async def test_each_await(
    async_place: LocalAsyncPlace, work: Work, effects: int, times: int
) -> None:
    clock = FakeClock(minute(60))
    store = await async_place.open(clock=clock)
    await store.execute("CREATE TABLE effect (id TEXT)")
    waits, left_held = 0, []
    for step in range(STEPS):
        name, at = f"e{step}", frozenset(range(step, step + times))
        try:
            waits = await asyncio.wait_for(_as_task(_cancelled_at(work(store, name), at)), LIMIT_S)
        except asyncio.CancelledError:
            waits = step + 1
        # Whatever became of it: the same work, done again, ends with each effect once.
        if not await asyncio.wait_for(_again(work, store, name), LIMIT_S):
            left_held.append(step)
            clock.advance("61s")
            assert await asyncio.wait_for(_again(work, store, name), LIMIT_S)
        if waits <= step:
            break
    else:
        pytest.fail("there are more awaits than steps were tried")
    assert waits > 3
    _everything_once(async_place, step + 1, effects)
    # Whoever is cancelled twice may leave a lease behind, to end when its time is up.
    assert left_held == [] or times > 1


async def _as_task(waiting: Awaitable[int]) -> int:
    async def run() -> int:
        return await waiting

    return await asyncio.create_task(run())


async def _again(work: Work, store: belaypin.AsyncStore, name: str) -> bool:
    """As another worker would do it; False if what was cancelled still holds it."""
    try:
        await work(store, name)
    except (belaypin.LeaseHeld, belaypin.OperationRunning):
        return False
    return True


def _everything_once(place: LocalAsyncPlace, names: int, effects: int) -> None:
    rows = [row[0] for row in place.query("SELECT id FROM effect")]
    assert len(rows) == len(set(rows)) == names * effects
    if place.url.startswith("postgresql:"):
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert place.query(f"{stuck} AND datname = current_database()") == [(0,)]
