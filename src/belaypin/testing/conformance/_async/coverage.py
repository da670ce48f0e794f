"""Coverage: what is wholly processed, what is missing in it, and how far behind it is."""

from __future__ import annotations

from datetime import timedelta

from belaypin.errors import UsageError
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, mine, opened
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused
from belaypin.testing.conformance.source import Source, events, minute, one_page


def _span(start: float, end: float) -> Interval:
    return Interval(minute(start), minute(end))


async def check_nothing_is_covered_at_first(place: AsyncPlace) -> None:
    store = await opened(place)
    assert await store.coverage(KEY) == []
    assert await store.gaps(KEY) == []
    assert await store.lag(KEY) is None
    assert await store.gaps(KEY, since=minute(0), until=minute(5)) == [_span(0, 5)]
    async with store.lease(*KEY[:2]):
        assert await store.lag(KEY) is None


async def check_coverage_gaps_and_lag(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    async with store.lease(*KEY[:2]) as lease:
        for start, end in ((50, 60), (10, 20), (30, 40), (60, 65), (5, 12)):
            await mine(place, lease, Source([]), since=minute(start), until=minute(end))
    assert await store.coverage(KEY) == [_span(5, 20), _span(30, 40), _span(50, 65)]
    assert await store.gaps(KEY) == [_span(20, 30), _span(40, 50)]
    assert await store.gaps(KEY, since=minute(0)) == [_span(0, 5), _span(20, 30), _span(40, 50)]
    assert await store.gaps(KEY, until=minute(35)) == [_span(20, 30)]
    assert await store.gaps(KEY, since=minute(35), until=minute(45)) == [_span(40, 45)]
    assert await store.gaps(KEY, since=minute(12), until=minute(18)) == []
    assert await store.gaps(KEY, since=minute(50), until=minute(10)) == []
    assert await store.lag(KEY) == timedelta(minutes=80)


async def check_naive_times_are_refused(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    naive = minute(0).replace(tzinfo=None)
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]))
    with refused(place, UsageError, "naive"):
        await store.gaps(KEY, since=naive)
    with refused(place, UsageError, "naive"):
        await store.gaps(KEY, until=naive)
    with refused(place, UsageError):
        await store.gaps(KEY, since="1h")  # type: ignore[arg-type]


async def check_only_a_finished_window_is_covered(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(Source(events(9)).fetch):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
                done = await store.coverage(KEY)
                assert done == ([_span(0, 60)] if page.is_last else [])


async def check_a_last_page_that_fails_covers_nothing(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(one_page(events(3))):
                with raises(ZeroDivisionError):
                    async with page.commit() as tx:
                        await tx.fresh(page.items, key="id")
                        raise ZeroDivisionError
                break
    assert await store.coverage(KEY) == []
    assert await store.seen(KEY, range(3)) == set()


async def check_streams_are_covered_by_themselves(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]), "a", since=minute(0))
        await mine(place, lease, Source([]), "b", since=minute(30))
    assert await store.coverage((*KEY[:2], "a")) == [_span(0, 60)]
    assert await store.coverage((*KEY[:2], "b")) == [_span(30, 60)]
    assert await store.coverage(KEY[:2]) == []
