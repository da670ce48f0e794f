"""Live events: they cover the time while somebody listened; a break is a gap to be fetched."""

from __future__ import annotations

from belaypin.errors import NotCommitted, UsageError
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, effects, hear, mine, opened, spans, write
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused
from belaypin.testing.conformance.source import Item, Source, event, events, minute


def _span(start: float, end: float) -> Interval:
    return Interval(minute(start), minute(end))


async def check_listening_covers_from_connecting_to_the_last_commit(place: AsyncPlace) -> None:
    clock = FakeClock(minute(10))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        async with lease.live(KEY[2], at="at") as live:
            clock.advance("5m")
            assert await hear(place, live, event(1, 12), event(2, 14)) == [1, 2]
            assert await store.coverage(KEY) == [_span(10, 15)]
            clock.advance("5m")
            await live.heartbeat()
            clock.advance("5m")
        assert await store.coverage(KEY) == [_span(10, 20)]
    assert effects(place) == ["1", "2"]


async def check_an_event_comes_once(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(10)))
    async with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        assert await hear(place, live, event(1), event(1), event(2)) == [1, 2]
        assert await hear(place, live, event(2), event(3)) == [3]
    assert effects(place) == ["1", "2", "3"]


async def check_a_break_leaves_a_gap_that_windows_fetch(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(0)), Source(events(40))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2], role="live") as lease:
        for first in (0, 20):
            clock.set(minute(first))
            async with lease.live(KEY[2], at="at") as live:
                clock.advance("10m")
                await hear(place, live, *source.items[first : first + 10])
    assert await store.gaps(KEY) == [_span(10, 20)]
    async with store.lease(*KEY[:2], role="backfill") as lease:
        assert await spans(lease, since=minute(0), until=minute(30)) == [(10, 20)]
        assert await mine(place, lease, source, until=minute(30)) == [*range(10, 20)]
    assert await store.coverage(KEY) == [_span(0, 30)]
    assert effects(place) == sorted(map(str, range(30)))


async def check_live_and_backfill_meet(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(30)), Source(events(60))
    store, other = await opened(place, clock=clock), await place.open(clock=clock)
    async with (
        store.lease(*KEY[:2], role="live") as lease,
        other.lease(*KEY[:2], role="backfill") as backfill,
        lease.live(KEY[2], at="at") as live,
    ):
        async for window in backfill.windows(KEY[2], since=minute(0)):
            async for page in window.pages(source.within(window)):
                heard = int((clock.now - minute(0)).total_seconds() // 60)
                clock.advance("1m")
                await hear(place, live, source.items[heard])
                async with page.commit() as tx:
                    await write(place, tx, await tx.fresh(page.items, key="id"))
        # Some of what was heard live comes again by the window that overlaps it.
        await mine(place, backfill, source, overlap="30m")
    assert effects(place) == sorted(map(str, range(40)))
    assert await store.coverage(KEY) == [_span(0, 40)]


async def check_events_that_were_not_committed_are_not_covered(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store, source = await opened(place, clock=clock), Source(events(60))
    async with store.lease(*KEY[:2]) as lease:
        async with lease.live(KEY[2], at="at") as live:
            clock.advance("10m")
            await hear(place, live, *source.items[:10])
            clock.advance("10m")
            with raises(ZeroDivisionError):
                async with live.batch(source.items[10:20]).commit() as tx:
                    await write(place, tx, await tx.fresh(source.items[10:20], key="id"))
                    raise ZeroDivisionError
            clock.advance("10m")
            # Whether listening goes on or has to begin anew: the lost events stay a gap.
            try:
                await hear(place, live, *source.items[20:30])
            except NotCommitted:
                pass
        lost = [e for e in await store.coverage(KEY) if e.start <= minute(15) < e.end]
        assert lost == [], "covered, but not processed"
        await mine(place, lease, source, until=minute(30))
    assert effects(place) == sorted(map(str, range(30)))


async def check_events_that_were_forgotten_are_not_covered(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        clock.advance("10m")
        live.batch([event("forgotten", 5)])
        try:
            await live.heartbeat()
        except NotCommitted:
            pass
        assert [e for e in await store.coverage(KEY) if e.start <= minute(5) < e.end] == []


async def check_batches_are_committed_one_by_one(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)

    def heard() -> list[list[Item]]:
        clock.advance("1m")
        return [events(2), [], events(3, 2)]

    async with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        async for batch in live.batches(heard()):
            async with batch.commit() as tx:
                await write(place, tx, await tx.fresh(batch.items, key="id"))
        with refused(place, NotCommitted, "commit"):
            async for batch in live.batches([events(1, 9)]):
                assert batch.items
        batch = live.batch(events(1, 7))
        async with batch.commit() as tx:
            await tx.fresh(batch.items, key="id")
        with refused(place, NotCommitted):
            batch.commit()
    assert effects(place) == ["0", "1", "2", "3", "4"]


async def check_settle_leaves_what_may_still_come(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at", settle="2m") as live:
        clock.advance("1m")
        await hear(place, live, event(1, 0.5))
        assert await store.coverage(KEY) == []
        clock.advance("9m")
        await live.heartbeat()
    assert await store.coverage(KEY) == [_span(0, 8)]


async def check_listening_keeps_an_open_window(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(30)), Source(events(30))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(source.within(window)):
                async with page.commit() as tx:
                    await write(place, tx, await tx.fresh(page.items, key="id"))
                break
        async with lease.live(KEY[2], at="at") as live:
            clock.advance("1m")
            await hear(place, live, event("live", 30))
        async for window in lease.windows(KEY[2], since=minute(0)):
            assert (window.resumed, window.cursor) == (True, 3)
            break
        await mine(place, lease, source)
    assert effects(place) == sorted([*map(str, range(30)), "live"])


async def check_listening_needs_its_block(place: AsyncPlace) -> None:
    store = await opened(place)
    async with store.lease(*KEY[:2]) as lease:
        live = lease.live(KEY[2], at="at")
        with refused(place, UsageError, "with"):
            live.batch([event(1)]).commit()
        async with live:
            pass
        with refused(place, UsageError, "with"):
            await live.heartbeat()


async def check_an_event_without_its_time_is_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    async with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        await live.heartbeat()
        for bad in ({"id": 1}, {"id": 1, "at": "2024-01-01T00:00:00"}, {"id": 1, "at": 5}):
            with refused(place, UsageError, "at"):
                async with live.batch([bad]).commit() as tx:
                    await tx.fresh([bad], key="id")
