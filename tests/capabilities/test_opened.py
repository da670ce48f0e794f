"""Open windows and who is at them; the stretch that a stream was listened to."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from belaypin import CorruptRecord, Key, UsageError
from tests.capabilities.sites import START, FixedClock, Site

NOW = START
HOUR = timedelta(hours=1)


async def begin(lease: Any, stream: str, cursor: Any, **options: Any) -> None:
    """Commit the first page of a window, and leave it there."""
    async for window in lease.windows(stream, **options):
        async for page in window.pages(lambda _cursor: ([{"id": lease.role}], cursor)):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
            return


async def test_a_window_tells_where_it_stands_and_who_is_at_it(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    async with store.lease("shop", "user:7", role="backfill", ttl_s="5m") as lease:
        await begin(lease, "posts", {"page": 2}, since=NOW - 3 * HOUR, until=NOW - HOUR)
        (row,) = await store.windows(("shop", "user:7", "posts"))
        assert (row.key, row.role) == (Key("shop", "user:7", "posts"), "backfill")
        assert (row.start, row.end) == (NOW - 3 * HOUR, NOW - HOUR)
        assert (row.cursor, row.covered_to, row.newest) == ({"page": 2}, None, None)
        assert row.moved_at == NOW
        assert row.lease.state == "live"
        assert (row.lease.token, row.lease.acquired_at) == (lease.token, NOW)
        assert row.as_dict()["lease"]["ttl"] == 300.0
    (row,) = await store.windows("shop")
    assert row.lease.state == "released"
    assert await store.windows("shop/other") == await store.windows(("shop", "user:7", "edits"))


async def test_an_overlap_is_read_again(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    at = {"since": NOW - 3 * HOUR, "overlap": "10m"}
    async with store.lease("shop", "user:7") as lease:
        async for window in lease.windows("posts", until=NOW - HOUR, **at):
            async for page in window.pages(lambda _cursor: ([], None)):
                async with page.commit():
                    pass
        await begin(lease, "posts", 7, **at)
    (row,) = await store.windows()
    assert (row.start, row.covered_to, row.is_head) == (
        NOW - HOUR - timedelta(minutes=10),
        NOW - HOUR,
        True,
    )


async def test_windows_come_page_by_page(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    expected = []
    for entity in ("a", "b"):
        for role in ("main", "other"):
            async with store.lease("shop", entity, role=role) as lease:
                for stream in ("edits", "posts"):
                    await begin(lease, stream, 2, since="1d")
        expected += [(entity, s, r) for s in ("edits", "posts") for r in ("main", "other")]
    for limit in (1, 3, 8, 9):
        found, after = [], None
        while True:
            page = await store.windows("shop", limit=limit, after=after)
            assert len(page) <= limit
            found += [(row.key.entity, row.key.stream, row.role) for row in page]
            after = page.next
            if after is None:
                break
        assert found == expected
    assert len(await store.windows(("shop", "b"))) == 4
    with pytest.raises(UsageError):
        await store.windows("shop", limit=0)
    with pytest.raises(UsageError):
        await store.windows("shop", after="nonsense")


async def test_what_cannot_be_read_is_named(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    async with store.lease("shop", "user:7") as lease:
        await begin(lease, "posts", 2, since="1d")
    await store.execute("UPDATE belaypin_checkpoint SET progress = '{\"x' WHERE stream = 'posts'")
    with pytest.raises(CorruptRecord, match="shop / user:7 / posts"):
        await store.windows()


async def listened(store: Any) -> Any:
    (row,) = await store.streams("stream:posts")
    return row.live_from, row.live_to


async def hear(live: Any, number: int, at: datetime) -> None:
    async with live.batch([{"id": number, "at": at}]).commit() as tx:
        await tx.fresh([{"id": number, "at": at}], key="id")


async def test_listening_is_told_from_backfill_until_it_breaks(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    async with store.lease("shop", "user:7", ttl_s="1d") as lease:
        await begin(lease, "posts", None, since=NOW - 3 * HOUR)
        assert await listened(store) == (None, None)
        async with lease.live("posts", at="at", settle="1m") as live:
            clock.advance(3600)
            await hear(live, 1, NOW)
            clock.advance(3600)
            await live.heartbeat()
            assert await listened(store) == (NOW, NOW + 2 * HOUR - timedelta(minutes=1))
            live.batch([{"id": 3, "at": NOW}])  # is never committed: a break
            clock.advance(3600)
            await hear(live, 4, NOW)
            clock.advance(3600)
            await live.heartbeat()
            unbroken = (NOW + 3 * HOUR, NOW + 4 * HOUR - timedelta(minutes=1))
            assert await listened(store) == unbroken
    # A window beside it changes nothing; what was listened to and is reopened came by no event.
    async with store.lease("shop", "user:7") as lease:
        await begin(lease, "posts", None, since=NOW)
    assert await listened(store) == unbroken
    await store.reopen(("shop", "user:7", "posts"), NOW, NOW + HOUR)
    assert await listened(store) == unbroken
    await store.reopen(("shop", "user:7", "posts"), NOW, NOW + 4 * HOUR)
    assert await listened(store) == (None, None)


async def test_a_stretch_is_forgotten_with_the_ledger(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    for processor in (0, 1):
        async with (
            store.lease("shop", "user:7") as lease,
            lease.live("posts", at="at", processor=processor) as live,
        ):
            clock.advance(3600)
            await live.heartbeat()
        assert await listened(store) == (NOW + processor * HOUR, NOW + (processor + 1) * HOUR)
    await store.reset(("shop", "user:7"))
    assert await listened(store) == (None, None)
