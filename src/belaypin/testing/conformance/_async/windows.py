"""Windows: what is missing, gaps first and then the head; resumed where they were left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

from belaypin._async.lease import AsyncLease
from belaypin._async.store import AsyncStore
from belaypin._async.window import AsyncWindow
from belaypin.errors import UsageError
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import (
    KEY,
    commit_all,
    effects,
    mine,
    opened,
    spans,
)
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import refused, unchanged
from belaypin.testing.conformance.source import Source, event, events, minute


def _numbers(count: int) -> list[str]:
    return sorted(str(number) for number in range(count))


async def _cover(lease: AsyncLease, place: AsyncPlace, start: float, end: float) -> None:
    """Cover [start, end) minutes with nothing in it."""
    await mine(place, lease, Source([]), since=minute(start), until=minute(end))


async def _one_page(
    lease: AsyncLease, within: Callable[[AsyncWindow], Callable[[Any], Any]], **options: Any
) -> None:
    """Commit the first page of the first window, as a worker that is stopped then."""
    async for window in lease.windows(KEY[2], since=minute(0), **options):
        async for page in window.pages(within(window)):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
            return


async def _covered(store: AsyncStore) -> list[Interval]:
    return await store.coverage(KEY)


async def check_gaps_come_first_then_the_head(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    async with store.lease(*KEY[:2]) as lease:
        await _cover(lease, place, 20, 30)
        await _cover(lease, place, 50, 60)
        since, missing = minute(0), [*range(20), *range(30, 50), *range(60, 100)]
        assert await spans(lease, since=since) == [(0, 20), (30, 50), (60, 100)]
        assert await spans(lease, since=since, overlap="5m") == [(0, 20), (25, 50), (55, 100)]
        assert await spans(lease, since=minute(25)) == [(30, 50), (60, 100)]
        assert await spans(lease, since=minute(40), until=minute(55)) == [(40, 50)]
        assert await mine(place, lease, Source(events(100))) == missing
        assert await spans(lease, since=since) == []
        assert await spans(lease, since=since, overlap="5m") == [(95, 100)]
    assert await _covered(store) == [Interval(minute(0), minute(100))]


async def check_since_is_a_duration_a_time_or_the_beginning(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    west = timezone(timedelta(hours=-5))
    async with store.lease(*KEY[:2]) as lease:
        for since in ("1h", "60m", timedelta(hours=1), minute(40), minute(40).astimezone(west)):
            assert await spans(lease, since=since) == [(40, 100)]
        async for window in lease.windows(KEY[2], since="beginning"):
            assert window.start.year == 1
            assert window.end == minute(100)
        assert await spans(lease, since=minute(200)) == []


async def check_times_that_would_have_to_be_guessed_are_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    naive = minute(0).replace(tzinfo=None)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"since": naive}, "naive"),
        ({"since": "yesterday"}, "30d"),
        ({"since": None}, "beginning"),
        ({"since": 7}, "beginning"),
        ({"since": minute(0), "until": naive}, "naive"),
        ({"since": minute(0), "until": "1h"}, "until"),
        ({"since": minute(0), "overlap": "-1h"}, "overlap"),
        ({"since": minute(0), "settle": float("nan")}, "settle"),
    ]
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]))
        for options, word in bad:
            with refused(place, UsageError, word):
                await spans(lease, **options)


async def check_until_and_settle_end_the_head(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    async with store.lease(*KEY[:2]) as lease:
        since = minute(0)
        assert await spans(lease, since=since, until=minute(50)) == [(0, 50)]
        assert await spans(lease, since=since, until=minute(500)) == [(0, 100)]
        assert await spans(lease, since=since, settle="10m") == [(0, 90)]
        assert await spans(lease, since=since, settle="10m", until=minute(95)) == [(0, 90)]
        assert await spans(lease, since=since, until=minute(0)) == []
        await mine(place, lease, Source(events(100)), settle="10m")
    assert await _covered(store) == [Interval(minute(0), minute(90))]


async def check_a_window_resumes_at_its_cursor(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(60)), Source(events(9))
    store, later = await opened(place, clock=clock), await place.open(clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            assert (window.resumed, window.cursor) == (False, None)
            async for page in window.pages(source.within(window)):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
                assert not page.is_last
                break
    clock.advance("10m")
    async with later.lease(*KEY[:2]) as lease:
        found = []
        async for window in lease.windows(KEY[2], since=minute(0)):
            found.append((window.start, window.end, window.resumed, window.cursor))
            await commit_all(place, window, source.within(window))
    assert found[0] == (minute(0), minute(60), True, 3)
    assert found[1:] == [(minute(60), minute(70), False, None)]
    assert source.cursors == [None, 3, 6, None]
    assert effects(place) == ["3", "4", "5", "6", "7", "8"]


async def check_a_cursor_is_any_json_value(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    cursors: list[Any] = [
        0,
        "",
        False,
        "o'; DROP TABLE effect; --\0\N{SNOWMAN}",
        -(2**63),
        1.5,
        [1, [None, {"a": []}]],
        {"id": 7, "at": {"us": 2**53}, "": True},
    ]
    following = [*cursors, None]
    seen: list[Any] = []

    def fetch(cursor: Any) -> tuple[list[Any], Any]:
        seen.append(cursor)
        return [event(len(seen))], following[len(seen) - 1]

    for _ in range(len(cursors) + 1):
        async with store.lease(*KEY[:2]) as lease:
            await _one_page(lease, lambda _: fetch)
    assert [(type(c), c) for c in seen] == [(type(c), c) for c in [None, *cursors]]
    assert await _covered(store) == [Interval(minute(0), minute(60))]


async def check_an_abandoned_window_loses_nothing(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(60)), Source(events(60))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(source.within(window)):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
                break
        # Another range is asked for, so the window that was begun has to give way.
        await mine(place, lease, source, since=minute(30), until=minute(40))
        await mine(place, lease, source)
    numbers = [str(number) for number in range(3, 60)]
    assert effects(place) == sorted(numbers)
    assert await _covered(store) == [Interval(minute(0), minute(60))]


async def check_a_window_that_is_passed_by_stays_missing(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        assert await spans(lease, since=minute(0)) == [(0, 60)]
        with unchanged(place):
            assert await spans(lease, since=minute(0)) == [(0, 60)]


async def check_the_head_ends_at_the_newest_item(place: AsyncPlace) -> None:
    clock = FakeClock(minute(100))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]), at="at")
        assert await _covered(store) == []
        await mine(place, lease, Source(events(10)), at="at")
        assert await _covered(store) == [Interval(minute(0), minute(9))]
        # The source lagged: what it shows now lies before what the clock said then.
        found = await mine(
            place, lease, Source([*events(9), event("tie", 9), event(11, 11)]), at="at"
        )
        assert found == ["tie", 11]
    assert await _covered(store) == [Interval(minute(0), minute(11))]


async def check_a_resumed_head_remembers_its_newest_item(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    source = Source([event(1, 50), event(2, 20), event(3, 10)], page_items=1)
    for _ in range(3):
        async with store.lease(*KEY[:2]) as lease:
            await _one_page(lease, source.within, at="at")
    assert await _covered(store) == [Interval(minute(0), minute(50))]


async def check_items_beyond_the_window_cover_no_more_than_it(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0), at="at"):
            await commit_all(place, window, Source([event(1, 5000), event(2, -50)]).fetch)
    assert await _covered(store) == [Interval(minute(0), minute(100))]


async def check_late_items_are_processed_and_counted(place: AsyncPlace) -> None:
    clock = FakeClock(minute(60))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source(events(60)), at="at")
        clock.advance("10m")
        late = [*events(60), event("late", 50), event("in time", 65)]
        found = await mine(place, lease, Source(late), at="at", overlap="15m")
        assert found == ["late", "in time"]
    counts = place.query("SELECT items, late FROM belaypin_checkpoint WHERE stream = 'posts'")
    assert counts == [(62, 1)]


async def check_overlap_finds_what_came_late_and_doubles_nothing(place: AsyncPlace) -> None:
    clock = FakeClock(minute(60))
    store = await opened(place, clock=clock)
    items = [i for i in events(60) if i["id"] % 7]
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source(items))
        for _ in range(5):
            await mine(place, lease, Source(events(60)), overlap="1h")
    assert effects(place) == _numbers(60)


async def check_responses_are_read_by_paths(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))

    class Response:
        def __init__(self, document: Any) -> None:
            self.document = document

        def json(self) -> Any:
            return self.document

    def fetch(cursor: Any) -> Any:
        items = events(2, cursor or 0)
        following = {} if cursor == 4 else {"next": (cursor or 0) + 2}
        document = {"data": {"items": items}, "paging": following}
        return Response(document) if cursor else document

    found: list[Any] = []
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(fetch, items="data.items", cursor="paging.next"):
                async with page.commit() as tx:
                    found += await tx.fresh(page.items, key="id")
    assert found == events(6)


async def check_a_second_run_finds_nothing_to_do(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source(events(60)))
    source = Source(events(60))
    async with store.lease(*KEY[:2]) as lease:
        assert await mine(place, lease, source) == []
    assert source.cursors == []
    assert effects(place) == _numbers(60)
