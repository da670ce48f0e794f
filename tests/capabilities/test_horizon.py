"""The replay horizon: what lies below it is too late, never new; so its ids may be forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import belaypin
from belaypin import UsageError
from tests.capabilities.sites import START, FixedClock, Site

KEY = ("shop", "user:7", "posts")
DAY_S = 86_400.0


def at(days: float) -> datetime:
    """So many days after the clock's start."""
    return START + timedelta(days=days)


def item(name: str, days: float) -> dict[str, Any]:
    return {"id": name, "at": at(days).isoformat()}


async def mine(
    store: Any, items: list[dict[str, Any]], *, role: str = "main", **options: Any
) -> list[str]:
    """All that is missing; the source has these items, and returns them whatever it is asked."""
    found: list[str] = []
    options = {"since": "30d", "overlap": "1h", "at": "at", "horizon": "7d"} | options
    async with store.lease(*KEY[:2], role=role, ttl_s="20d") as lease:
        async for window in lease.windows(KEY[2], **options):
            async for page in window.pages(lambda cursor: (items, None)):
                async with page.commit() as tx:
                    found += [each["id"] for each in await tx.fresh(page.items, key="id")]
    return found


async def horizon_of(site: Site) -> datetime | None:
    rows = await site.query("SELECT horizon_us FROM belaypin_checkpoint WHERE stream = 'posts'")
    us = rows[0][0]
    return None if us == -62135596800000000 else datetime.fromtimestamp(us / 1e6, UTC)


async def test_too_late_is_counted_and_never_new(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    assert await mine(store, [item("a", -20), item("b", -1)]) == ["a", "b"]  # the first time: all
    assert await horizon_of(site) == at(-30 - 7)  # what was missing began 30 days ago
    clock.advance(DAY_S)
    assert await mine(store, [item("late", -6), item("new", 0.9)]) == ["late", "new"]
    assert await horizon_of(site) == at(-1 - 7)  # the head was the newest item, "b", a day ago
    clock.advance(DAY_S)
    fresh = await mine(store, [item("a", -20), item("old", -19), item("c", 1.5), item("x", -8.5)])
    assert fresh == ["c"]
    found = await store.load(KEY)
    assert (found.items, found.skipped, found.too_late) == (5, 1, 2)
    assert (await store.health()).too_late == 2


async def test_a_head_that_stands_still_does_not_move_it(site: Site) -> None:
    """The source was away for a month: what comes then is late, and none of it too late."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -1)])
    for _ in range(3):
        clock.advance(30 * DAY_S)
        assert await mine(store, [], since=at(-30)) == []
    assert await horizon_of(site) == at(-1 - 7)
    clock.advance(DAY_S)
    assert await mine(store, [item(f"n{d}", d) for d in range(90)], since=at(-30)) == [
        f"n{d}" for d in range(90)
    ]


async def test_it_never_rises_above_a_window_that_is_under_way(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    old = [item(f"old{n}", -300 + n) for n in range(6)]

    async def backfill(stop_after: int) -> list[str]:
        found: list[str] = []
        async with store.lease(*KEY[:2], role="backfill", ttl_s="20d") as lease:
            async for window in lease.windows(KEY[2], since="beginning", at="at"):
                async for page in window.pages(
                    lambda c: ([old[c or 0]], (c or 0) + 1 if (c or 0) < 5 else None)
                ):
                    async with page.commit() as tx:
                        found += [i["id"] for i in await tx.fresh(page.items, key="id")]
                    if len(found) == stop_after:
                        return found
        return found

    assert len(await backfill(2)) == 2
    for day in range(1, 4):
        clock.advance(DAY_S)
        await mine(store, [item(f"n{day}", day - 0.1)], since="2d", role="main")
    assert await horizon_of(site) is None
    assert len(await backfill(9)) == 4


async def test_every_worker_of_the_stream_obeys_it(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -0.5)])
    clock.advance(DAY_S)
    await mine(store, [item("b", 0.5)])
    clock.advance(DAY_S)
    assert await mine(store, [item("x", -29), item("y", 1)], horizon=None) == ["y"]
    async with (
        store.lease(*KEY[:2], role="live", ttl_s="20d") as lease,
        lease.live(KEY[2], at="at") as live,
        live.batch([item("x", -29), item("z", 1.5)]).commit() as tx,
    ):
        assert [i["id"] for i in await tx.fresh([item("x", -29), item("z", 1.5)], key="id")] == [
            "z"
        ]
    with pytest.raises(UsageError, match="Pass at="):
        await mine(store, [item("w", 1.9)], horizon=None, at=None)
    assert (await store.load(KEY)).too_late == 2


async def test_time_below_it_that_was_never_covered_is_refused(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -0.1)], since="3d", horizon="1d")
    clock.advance(DAY_S)
    await mine(store, [item("b", 0.9)], since="3d", horizon="1d")
    assert await mine(store, [item("b", 0.9)], since=at(-3), horizon="1d") == []
    with pytest.raises(UsageError, match=r"(?s)replay horizon.*Nothing was fetched"):
        await mine(store, [item("c", -9)], since=at(-10), horizon="1d")


async def test_a_horizon_needs_event_times(site: Site) -> None:
    store = await site.open()
    with pytest.raises(UsageError, match="at="):
        await mine(store, [], at=None)
    with pytest.raises(UsageError, match="horizon"):
        await mine(store, [], horizon="soon")


async def test_gc_forgets_what_is_below_it(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    items = [item(f"n{d}", d / 2) for d in range(-20, 60)]
    for day in range(30):
        clock.us = int(at(day).timestamp() * 1e6)
        await mine(store, [i for i in items if i["at"] < at(day).isoformat()][-40:])
    assert await store.seen(KEY, ["n-20"]) == {"n-20"}
    counted = "SELECT COUNT(*), SUM(items), SUM(LENGTH(payload)) FROM belaypin_segment"
    before = await site.query(counted)
    dry = await store.gc(dry_run=True)
    assert dry.dry_run
    assert before == await site.query(counted)
    report = await store.gc()
    after = await site.query(counted)
    assert report.is_complete
    dropped = report.of("segments")
    assert dropped == dry.of("segments")
    assert dropped.rows > 10
    assert (await store.gc()).rows == 0
    assert (before[0][0] - after[0][0], before[0][2] - after[0][2]) == (dropped.rows, dropped.bytes)
    assert await store.seen(KEY, ["n-20", "n56"]) == {"n56"}
    assert await mine(store, items[:40]) == []
    assert (await store.load(KEY)).items == 78
    assert (await store.verify()).ok
    assert "is too late if" in str(await store.explain(KEY, "n-20"))
    notes = await store.audit(KEY)
    assert {note.action for note in notes} == {"forget"}
    assert sum(note.detail["segments"] for note in notes) == dropped.rows


async def test_a_live_worker_goes_on_beside_gc(site: Site) -> None:
    """It knows ids whose segments are gone, and lists of segments that are not there any more."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    items = [item(f"n{n:03}", n / 10) for n in range(150)]
    async with (
        store.lease(*KEY[:2], role="live", ttl_s="20d") as lease,
        lease.live(KEY[2], at="at") as live,
    ):
        for n in range(0, 150, 10):
            clock.us = int(at(n / 10 + 1).timestamp() * 1e6)
            page = items[n : n + 10]
            async with live.batch(page).commit() as tx:
                assert len(await tx.fresh(page, key="id")) == 10
            await mine(store, [], since=at(0), horizon="2d")
            await store.gc()
            again = items[max(0, n - 90) : n + 10]
            async with live.batch(again).commit() as tx:
                assert await tx.fresh(again, key="id") == []
    assert (await store.verify()).ok
    kept = await site.query("SELECT SUM(items) FROM belaypin_segment")
    assert kept[0][0] < 60


async def test_segments_without_event_times_stay(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -2)], at=None, horizon=None, until=at(-1))
    for day in range(30):
        clock.us = int(at(day).timestamp() * 1e6)
        await mine(store, [item(f"n{day}", day - 0.1)])
    await store.gc()
    rows = await site.query("SELECT newest_us FROM belaypin_segment ORDER BY seq")
    assert rows[0] == (None,)
    assert len(rows) < 12
    assert await store.seen(KEY, ["a", "n0"]) == {"a"}


async def test_changed_content_below_it_is_too_late_as_well(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)

    async def edit(text: str, days: list[float]) -> list[str]:
        found: list[str] = []
        items = [item(f"n{d}", d) | {"text": text} for d in days]
        async with store.lease(*KEY[:2], ttl_s="20d") as lease:
            async for window in lease.windows(
                KEY[2], since="30d", overlap="1h", at="at", horizon="7d"
            ):
                async for page in window.pages(lambda cursor: (items, None)):
                    async with page.commit() as tx:
                        fresh = await tx.fresh(page.items, key="id", content=["text"])
                        found += [i["id"] for i in fresh]
        return found

    await edit("first", [-9, -0.2])
    clock.advance(DAY_S)
    assert await edit("first", [0.5]) == ["n0.5"]
    clock.advance(DAY_S)
    assert await edit("second", [-9, -0.2, 0.5]) == ["n-0.2", "n0.5"]
    found = await store.load(KEY)
    assert (found.items, found.changed, found.too_late, found.skipped) == (3, 2, 1, 0)


def test_what_was_put_aside_is_never_too_late() -> None:
    """It was not committed: whenever it succeeds is the first time. Then it is too late as well."""
    clock = FixedClock()
    retry = belaypin.Retry(backoff="20d", max_backoff="20d", jitter=0)
    bad, done = {"n-1"}, list[str]()

    def mine_or_fail(store: belaypin.Store, items: list[dict[str, Any]]) -> None:
        with store.lease(*KEY[:2], ttl_s="20d") as lease:
            for window in lease.windows(
                KEY[2], since="3d", overlap="1h", at="at", horizon="2d", retry=retry
            ):
                for page in window.pages(lambda cursor: (items, None)):
                    with page.commit() as tx:
                        for each in tx.fresh(page.items, key="id"):
                            with tx.attempt(each):
                                if each["id"] in bad:
                                    raise OSError("not now")
                                done.append(each["id"])

    with belaypin.open("sqlite:///:memory:", clock=clock) as store:
        mine_or_fail(store, [item("n-1", -1), item("n-0.5", -0.5)])
        for day in range(1, 40):
            clock.us = int(at(day).timestamp() * 1e6)
            bad &= {"n-1"} if day < 15 else set()
            mine_or_fail(store, [item("n-1", -1), item(f"n{day}", day - 0.1)])
            store.gc()
        assert done.count("n-1") == 1
        assert len(done) == len(set(done)) == 41
        assert not list(store.failures())
        assert store.verify().ok


def test_the_newest_event_time_of_merged_segments_is_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from belaypin.programs import ledger

    monkeypatch.setattr(ledger, "FAN_OUT", 3)
    clock = FixedClock()
    with belaypin.open("sqlite:///:memory:", clock=clock) as store:
        with (
            store.lease(*KEY[:2], ttl_s="20d") as lease,
            lease.live(KEY[2], at="at") as live,
        ):
            for day in (5, 1, 3):
                with live.batch([item(f"n{day}", day)]).commit() as tx:
                    tx.fresh([item(f"n{day}", day)], key="id")
        rows = store.execute("SELECT level, newest_us FROM belaypin_segment").rows
    assert rows == [(1, int(at(5).timestamp() * 1e6))]
