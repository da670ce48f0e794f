"""gc: what a policy does not keep is dropped, in small steps; what prevents duplicates never is."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

import belaypin
from belaypin import GcReport, Retention, UsageError
from belaypin.programs.retention import KINDS
from tests.capabilities.sites import FixedClock, Site
from tests.capabilities.test_horizon import DAY_S, KEY, at, item, mine

HOUR_S = 3600.0


async def count(site: Site, table: str, where: str = "1 = 1") -> int:
    found: int = (await site.query(f"SELECT COUNT(*) FROM belaypin_{table} WHERE {where}"))[0][0]
    return found


async def mined(site: Site, store: Any, clock: FixedClock, days: int) -> None:
    """A page of two items for each day."""
    for day in range(days):
        clock.us = int(at(day).timestamp() * 1e6)
        await mine(store, [item(f"a{day}", day - 0.5), item(f"b{day}", day - 0.1)])


async def note(site: Site, clock: FixedClock, entries: int, apart_s: float = 0) -> None:
    """Entries of the audit, so long apart."""
    rows = []
    for _ in range(entries):
        rows.append(f"({clock.us}, 'me', 'act', '', '', '', '{{}}')")
        clock.advance(apart_s)
    columns = "at_us, actor, action, pipeline, entity, stream, detail"
    await site.query(f"INSERT INTO belaypin_audit ({columns}) VALUES {', '.join(rows)}")


async def rewind(site: Site, store: Any) -> None:
    """The stream's older facts no longer count."""
    await site.query(
        "UPDATE belaypin_checkpoint SET generation = 2, items = 0, dropped = 0, "
        "horizon_us = -62135596800000000"
    )


# --- what must stay -------------------------------------------------------------------------------


async def test_operations_that_are_done_stay_for_ever(site: Site) -> None:
    """To purge them would run them again when their input is replayed."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    for number in range(5):
        async with store.once(f"invoice:{number}") as op:
            assert op
    clock.advance(3650 * DAY_S)
    everything = Retention(
        generations=0, samples=0, samples_hourly=0, samples_daily=0, audit=0, attempts=0, messages=0
    )
    await store.gc(everything)
    assert await count(site, "operation") == 5
    async with store.once("invoice:3") as op:
        assert not op


async def test_the_ledger_above_the_horizon_stays(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mined(site, store, clock, 20)
    clock.advance(3650 * DAY_S)
    await store.gc(Retention(generations=0, audit=0))
    names = [f"{letter}{day}" for letter in "ab" for day in range(20)]
    kept = await store.seen(KEY, names)
    assert {name for name in names if int(name[1:]) > 12} <= kept  # the head stood at day 19
    assert len(kept) < 20
    assert await store.seen(KEY, names) == kept


async def test_a_stream_without_a_horizon_keeps_all(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -2)], horizon=None)
    clock.advance(3650 * DAY_S)
    assert (await store.gc()).rows == 0
    assert await store.seen(KEY, ["a"]) == {"a"}


async def test_the_ledger_can_be_kept_all_the_same(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mined(site, store, clock, 20)
    assert (await store.gc(Retention(ledger=False))).rows == 0
    assert (await store.gc()).of("segments").rows > 5


# --- kinds ----------------------------------------------------------------------------------------


async def test_generations_that_ended_long_ago(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mined(site, store, clock, 9)
    before = await count(site, "segment")
    await rewind(site, store)
    assert (await store.gc()).rows == 0  # nobody has worked since: it has hardly ended
    await mine(store, [item("c", 8)], horizon=None)
    clock.advance(29 * DAY_S)
    assert (await store.gc()).of("generations").rows == 0
    clock.advance(2 * DAY_S)
    dry = await store.gc(dry_run=True)
    report = await store.gc()
    assert report.of("generations").rows == dry.of("generations").rows == before + 1
    assert report.bytes == dry.bytes
    assert await count(site, "segment") == await count(site, "segment", "generation = 2") == 1
    assert await count(site, "coverage") == 1
    assert (await store.verify()).ok


@pytest.mark.parametrize(("policy", "left"), [
    (Retention(), 50), (Retention(audit="10d"), 10), (Retention(audit_entries=7), 7),
    (Retention(audit="10d", audit_entries=20), 10), (Retention(audit=None), 60),
    (Retention(audit=0, audit_entries=0), 0),
])  # fmt: skip
@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["memory", "postgres"])
async def test_the_audit_by_age_and_by_count(
    site: Site, colour: str, database: str, policy: Retention, left: int
) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await note(site, clock, 60, DAY_S)
    clock.advance(350 * DAY_S if policy.audit == "400d" and policy.audit_entries is None else -1)
    dry = await store.gc(policy, dry_run=True)
    assert await count(site, "audit") == 60
    report = await store.gc(policy)
    assert dry.of("audit") == report.of("audit")
    numbers = [row[0] for row in await site.query("SELECT audit_id FROM belaypin_audit")]
    assert sorted(numbers) == list(range(61 - left, 61))  # the newest ones
    assert report.of("audit").rows == 60 - left


async def test_samples_thin_out_with_age(site: Site) -> None:
    """All of a day, then the first of each hour, after 30 days the first of each day."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    begin_us, minute_us = clock.us, 60_000_000
    taken = [begin_us + n * 30 * minute_us for n in range(33 * 48)]
    rows = [f"('{name}', {us}, {us}, '{{}}')" for us in taken for name in ("", "shop")]
    for start in range(0, len(rows), 500):
        values = ", ".join(rows[start : start + 500])
        await site.query(f"INSERT INTO belaypin_health VALUES {values}")
    clock.us = begin_us + 33 * 86_400_000_000
    now_us = clock.us
    kept = [
        us
        for us in taken
        if us >= now_us - 86_400_000_000
        or (us >= now_us - 30 * 86_400_000_000 and us % 3_600_000_000 == 0)
        or us % 86_400_000_000 == 0
    ]
    dry = await store.gc(dry_run=True)
    report = await store.gc()
    assert report.of("samples") == dry.of("samples")
    assert report.of("samples").rows == 2 * (len(taken) - len(kept))
    for name in ("", "shop"):
        found = await site.query(
            f"SELECT slot_us FROM belaypin_health WHERE pipeline = '{name}' ORDER BY slot_us"
        )
        assert [row[0] for row in found] == kept
    assert (await store.gc()).rows == 0
    await store.gc(Retention(samples_daily="32d"))
    assert await count(site, "health", f"slot_us < {now_us - 32 * 86_400_000_000}") == 0


async def test_attempts_at_what_is_done(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    for number in range(18):
        for fails in (True, True, False):
            try:
                async with store.once(f"invoice:{number}"):
                    assert not fails
            except AssertionError:
                pass
    try:
        async with store.once("failed"):
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    clock.advance(89 * DAY_S)
    assert (await store.gc()).of("attempts").rows == 0
    clock.advance(2 * DAY_S)
    dry = await store.gc(dry_run=True)
    report = await store.gc()
    assert dry.of("attempts") == report.of("attempts")
    assert report.of("attempts").rows == 54
    assert await count(site, "attempt") == 1
    assert await count(site, "operation") == 19
    async with store.once("invoice:17") as op:
        assert not op
    assert (await store.verify()).ok


async def test_results_whose_time_is_over(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    for number in range(3):
        async with store.once(f"invoice:{number}", result_ttl="1d"):
            pass
    clock.advance(2 * DAY_S)
    assert (await store.gc(dry_run=True)).of("results").rows == 3
    assert (await store.gc()).of("results").rows == 3
    async with store.once("invoice:1") as op:
        assert not op


async def test_messages_stay_unless_said_otherwise(site: Site) -> None:
    """Their keys are what keeps a message from being delivered twice."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    for number in range(60):
        await store.send("orders", {"n": number}, key=str(number))
    await site.query("UPDATE belaypin_outbox SET status = 'delivered', delivered_us = created_us")
    clock.advance(3650 * DAY_S)
    assert (await store.gc()).of("messages").rows == 0
    dry = await store.gc(Retention(messages="30d"), dry_run=True)
    report = await store.gc(Retention(messages="30d"))
    assert dry.of("messages") == report.of("messages")
    assert report.of("messages").rows == 60


async def test_orphans_only_when_asked_for(site: Site) -> None:
    store = await site.open()
    await mine(store, [item("a", -2)], horizon=None, since="beginning")
    await mine(store, [item("b", -1)], horizon=None, since="beginning")
    await site.query("DELETE FROM belaypin_checkpoint")
    assert (await store.gc()).rows == 0
    dry = await store.gc(Retention(orphans=True), dry_run=True)
    report = await store.gc(Retention(orphans=True))
    assert dry.of("orphans").rows == report.of("orphans").rows >= 3
    assert (await store.verify()).findings == ()


# --- steps ----------------------------------------------------------------------------------------


async def test_it_can_be_stopped_by_a_limit_and_go_on(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mined(site, store, clock, 24)
    total = (await store.gc(dry_run=True)).of("segments").rows
    assert total > 10
    report = await store.gc(limit=7)
    assert (report.rows, report.is_complete) == (7, False)
    assert "segments" in report.left
    assert (await store.verify()).ok
    done = 7
    while not report.is_complete:
        report = await store.gc(limit=7)
        assert report.rows <= 7
        done += report.rows
    assert done == total
    assert (await store.verify()).ok


async def test_it_stops_at_its_deadline(site: Site) -> None:
    store = await site.open()
    report = await store.gc(deadline_s=0)
    assert set(report.left) == {kind.name for kind in KINDS}
    assert (await store.gc(deadline_s="1h")).is_complete


async def test_steps_are_small_and_told(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await note(site, clock, 170)
    clock.advance(500 * DAY_S)
    told: list[GcReport] = []
    await store.gc(on_progress=told.append)
    assert [report.rows for report in told] == [50, 100, 150, 170]


async def test_an_interrupt_between_steps_loses_nothing(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await note(site, clock, 170)
    clock.advance(500 * DAY_S)

    def interrupt(report: GcReport) -> None:
        raise KeyboardInterrupt

    try:
        await store.gc(on_progress=interrupt)
    except KeyboardInterrupt:
        pass
    assert await count(site, "audit") == 120
    assert (await store.gc()).rows == 120


@pytest.mark.parametrize("bad", [
    {"retention": "30d"}, {"retention": Retention(audit="soon")}, {"limit": 0}, {"limit": "x"},
    {"retention": Retention(audit_entries=-1)}, {"retention": Retention(samples=timedelta(-1))},
    {"deadline_s": "later"},
])  # fmt: skip
@pytest.mark.parametrize("database", ["memory"])
async def test_what_makes_no_sense_is_refused(
    site: Site, database: str, bad: dict[str, Any]
) -> None:
    store = await site.open()
    with pytest.raises(UsageError):
        await store.gc(**bad)


def test_reports_are_text_and_data() -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        report = store.gc(dry_run=True)
    assert str(report) == "would drop 0 rows, 0 bytes"
    assert report.as_dict()["is_complete"]
    unfinished = report.plus("audit", 3, 40).plus("audit", 1, 2).unfinished("audit")
    assert str(unfinished).splitlines() == [
        "would drop 4 rows, 42 bytes",
        "audit: 4 rows, 42 bytes",
        "not finished: audit",
    ]


@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["file", "postgres"])
async def test_gc_and_compact_beside_two_live_workers(
    site: Site, colour: str, database: str
) -> None:
    """Other threads, other connections: nothing is returned twice, nothing is left out."""
    ids: list[list[str]] = [[], []]
    is_done = threading.Event()

    def one_page(items: list[Any], _: Any) -> tuple[list[Any], None]:
        return items, None

    def work(number: int) -> None:
        clock = FixedClock()
        with belaypin.open(site.url, clock=clock) as store:
            for day in range(25):
                clock.us = int(at(day).timestamp() * 1e6)
                items = [item(f"n{d}", d) for d in range(max(0, day - 12), day)]
                with store.lease(*KEY[:2], role=f"worker {number}", ttl_s="20d") as lease:
                    for window in lease.windows(
                        KEY[2], since=at(-1), overlap="20d", at="at", horizon="5d"
                    ):
                        for page in window.pages(partial(one_page, items)):
                            with page.commit() as tx:
                                new = [each["id"] for each in tx.fresh(page.items, key="id")]
                            ids[number] += new

    def clean() -> None:
        with belaypin.open(site.url) as store:
            while not is_done.is_set():
                store.gc()
                store.compact()

    with belaypin.open(site.url):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
        cleaner = threading.Thread(target=clean)
        for thread in (*threads, cleaner):
            thread.start()
        for thread in threads:
            thread.join(120)
        is_done.set()
        cleaner.join(60)
    taken = sorted(ids[0] + ids[1])
    assert taken == sorted(f"n{d}" for d in range(24))
    with belaypin.open(site.url) as store:
        assert store.verify().ok
        store.gc()
        assert store.gc(dry_run=True).rows == 0
