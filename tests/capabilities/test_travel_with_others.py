"""Time travel with all else that a stream has: failed items, processors, cached item checks."""

from __future__ import annotations

from typing import Any

import pytest

from belaypin import SchemaTooNew, dictionaries
from belaypin.testing.conformance.source import minute
from tests.capabilities.sites import Database, FixedClock, Site
from tests.capabilities.test_failures import KEY, Work, at


@pytest.fixture(params=["memory", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.param
    return database


async def failing(site: Site) -> Work:
    """Eight items, of which two have failed."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    await store.execute("CREATE TABLE effect (id INTEGER, body TEXT)")
    work = Work(site, store, clock, range(8))
    work.bad = {2: ValueError("two"), 5: ValueError("five")}
    await work.run()
    assert await work.effects() == [0, 1, 3, 4, 6, 7]
    return work


async def failed(store: Any, key: tuple[str, ...] = KEY) -> list[Any]:
    return [failure.item_id for failure in await store.failures(*key)]


async def test_what_had_failed_at_the_savepoint_has_failed_again(site: Site) -> None:
    work = await failing(site)
    await work.store.savepoint(KEY[:2], "two failed")
    del work.bad[2]
    work.bad[7] = ValueError("seven")
    work.clock.advance(60)
    assert (2, True, False) in await work.run()
    assert await work.store.skip(*KEY) == 1
    assert await failed(work.store) == []
    await work.store.rewind(KEY[:2], to="two failed")
    assert await failed(work.store) == [2, 5]
    assert await work.holes() == [at(2), at(5)]
    await site.query("DELETE FROM effect WHERE id = 2")  # as its user has to
    await work.sound()
    work.clock.advance(60)
    work.bad.clear()
    assert {(2, True, False), (5, True, False)} <= {*await work.run()}
    assert await work.effects() == [*range(8)]
    await work.sound()
    await work.store.drop_savepoint(KEY[:2], "two failed")
    assert await site.query("SELECT * FROM belaypin_failure WHERE generation < 0") == []


async def test_a_reset_forgets_what_had_failed(site: Site) -> None:
    work = await failing(site)
    await work.store.reset(KEY)
    assert await failed(work.store) == []
    await site.query("DELETE FROM effect")
    work.bad.clear()
    assert len(await work.run()) == 8
    await work.sound()


async def test_an_item_withheld_since_is_taken_back(site: Site) -> None:
    store = await site.open()
    await store.quarantine(KEY, 7, "looks odd")
    await store.savepoint(KEY[:2], "one")
    await store.quarantine(KEY, 8, "odd as well")
    await store.rewind(KEY[:2], to="one")
    assert await failed(store) == [7]
    assert len((await store.reset(KEY)).streams) == 1
    assert await failed(store) == []
    await store.rewind(KEY, to="one")
    assert await failed(store) == [7]
    assert (await store.verify()).ok


async def test_a_fork_has_its_own_failed_items(site: Site) -> None:
    work = await failing(site)
    copy = ("shop", "copy", "posts")
    await work.store.fork(KEY[:2], copy[:2])
    assert await failed(work.store, copy) == [2, 5]
    assert await work.store.skip(*copy) == 2
    assert await failed(work.store, copy) == []
    assert await failed(work.store) == [2, 5]
    assert (await work.store.verify()).ok


async def test_reopened_time_leaves_failed_items_where_they_are(site: Site) -> None:
    work = await failing(site)
    await work.store.reopen(KEY, at(2), at(4))
    assert await failed(work.store) == [2, 5]
    work.clock.advance(60)
    work.bad.clear()
    await work.run()
    assert await work.effects() == [*range(8)]
    assert await work.store.gaps(KEY) == []
    await work.sound()


async def test_a_rewind_takes_back_a_newer_processor(site: Site) -> None:
    store = await site.open()

    async def process(processor: int) -> list[int]:
        found: list[int] = []
        async with store.lease(*KEY[:2]) as lease:
            span = {"since": minute(0), "until": minute(5)}
            async for window in lease.windows("posts", processor=processor, **span):
                async for page in window.pages(lambda _: ([1, 2, 3], None)):
                    async with page.commit() as tx:
                        found += await tx.fresh(page.items, key=lambda i: i)
        return found

    assert await process(1) == [1, 2, 3]
    await store.savepoint(KEY[:2], "before v2")
    assert await process(2) == [1, 2, 3]
    with pytest.raises(SchemaTooNew):
        await process(1)
    await store.rewind(KEY[:2], to="before v2")
    assert await process(1) == []
    assert await store.seen(KEY, [1, 4]) == {1}
    await store.reset(KEY)
    assert await process(1) == [1, 2, 3]
    assert (await store.verify()).ok


async def test_no_cached_fact_outlives_a_rewind_or_a_reset(site: Site, redis_url: str) -> None:
    store = await site.open(cache=redis_url)

    async def commit(first: int, last: int) -> None:
        async with store.lease(*KEY[:2]) as lease:
            async for window in lease.windows("posts", since=minute(first), until=minute(last)):
                async for page in window.pages(lambda _: ([*range(first, last)], None)):
                    async with page.commit() as tx:
                        await tx.fresh(page.items, key=lambda i: i)

    await commit(0, 2)
    await store.savepoint("shop", "two")
    await commit(2, 5)
    for _ in range(3):
        assert await store.seen(KEY, range(9)) == {0, 1, 2, 3, 4}
    await store.rewind("shop", to="two")
    assert await store.seen(KEY, range(9)) == {0, 1}
    await store.reset(KEY)
    assert await store.seen(KEY, range(9)) == set()
    await store.rewind("shop", to="two")
    assert await store.seen(KEY, range(9)) == {0, 1}


async def test_history_is_read_by_the_dictionaries_that_it_needs(site: Site) -> None:
    store = await site.open()
    keys = [("social", f"user:{number}") for number in range(60)]
    for _ in range(2):
        for number, key in enumerate(keys):
            await store.save(
                key, {"name": f"user {number}", "about": "likes long walks by the sea"}
            )
        await store.train_dictionary("social")
    key = keys[7]
    dictionaries._known.clear()  # as in a new process
    assert [version.is_readable for version in await store.history(key)] == [True, True]
    dictionaries._known.clear()
    assert await store.diff(key, 1) == []
    await store.savepoint("social", "now")
    await store.save(key, {"name": "nobody"})
    await store.rewind("social", to="now")
    dictionaries._known.clear()
    assert (await store.load(key)).state["name"] == "user 7"
    dictionaries._known.clear()
    assert (await store.verify()).ok
