"""Plans and recovery: what was begun is found by its rows, in order, and gone on with once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import belaypin
from belaypin import Fenced, Key, Retry, UsageError
from tests.capabilities.sites import MEMORY, Awaited, Colour, Database, FixedClock, Site

PAGES = 4
PER_PAGE = 3
TABLES = (
    "belaypin_checkpoint",
    "belaypin_lease",
    "belaypin_segment",
    "belaypin_coverage",
    "belaypin_operation",
    "effect",
)


class Mine:
    """One store with a clock that stands still, the user's table, and workers that die."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.clock = FixedClock()
        self.fetched: list[tuple[str, Any]] = []
        self.store: Any = None

    async def open(self) -> Mine:
        self.store = await self.site.open(clock=self.clock)
        await self.store.execute("CREATE TABLE effect (entity TEXT, id INTEGER)")
        return self

    async def pages(
        self, lease: Any, upto: int = PAGES, stream: str = "posts", first_id: int = 0
    ) -> None:
        """Commit ``upto`` pages of the stream, and leave it there."""
        mark = "%s" if self.site.url.startswith("postgresql") else "?"
        entity, count = lease.key.entity, 0
        sql = f"INSERT INTO effect VALUES ({mark}, {mark})"

        def fetch(cursor: Any) -> tuple[list[dict[str, int]], Any]:
            self.fetched.append((entity, cursor))
            page = cursor or 0
            items = [{"id": first_id + page * PER_PAGE + n} for n in range(PER_PAGE)]
            return items, page + 1 if page + 1 < PAGES else None

        async for window in lease.windows(stream, since="1d"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    for item in await tx.fresh(page.items, key="id"):
                        await tx.execute(sql, (entity, item["id"]))
                count += 1
                if count == upto:
                    return

    async def left(self, entity: str, upto: int, *, first_id: int = 0, **options: Any) -> None:
        """A worker that stops in the middle of a window, in good order."""
        async with self.store.lease("a", entity, **options) as lease:
            await self.pages(lease, upto, first_id=first_id)

    async def dies(self, entity: str, upto: int = 0, *, first_id: int = 0, **options: Any) -> Any:
        """A worker that dies: its lease is neither renewed nor released."""
        lease = self.store.lease("a", entity, **options)
        await lease.acquire()
        if upto:
            await self.pages(lease, upto, first_id=first_id)
        self.clock.advance(31)
        return lease

    async def fails(self, entity: str, error: Exception, *, upto: int = 0, **options: Any) -> None:
        with suppress(type(error)):
            async with self.store.lease("a", entity, **options) as lease:
                if upto:
                    await self.pages(lease, upto)
                raise error

    async def plan(self, **options: Any) -> belaypin.Plan:
        found: belaypin.Plan = await self.store.plan(**options)
        return found

    async def recover(
        self, work: Callable[[Any, belaypin.Step], Awaitable[None]] | None = None, **options: Any
    ) -> belaypin.RecoveryReport:
        """``work`` is a coroutine function; of the sync side it is run to its end here."""
        given: Any = work
        if work is not None and self.site.colour == "sync":

            def given(lease: Any, step: belaypin.Step) -> None:
                coroutine = work(Awaited(lease), step)
                with suppress(StopIteration):
                    coroutine.send(None)  # type: ignore[attr-defined]

        found: belaypin.RecoveryReport = await self.store.recover(given, **options)
        return found

    async def finish(self, lease: Any, step: belaypin.Step) -> None:
        """The work of a recovery: what the loop always does."""
        for stream in step.streams or ("posts",):
            await self.pages(lease, stream=stream)

    async def effects(self, entity: str) -> list[int]:
        rows = await self.site.query(f"SELECT id FROM effect WHERE entity = '{entity}' ORDER BY id")
        return [row[0] for row in rows]

    async def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        return {t: sorted(await self.site.query(f"SELECT * FROM {t}"), key=repr) for t in TABLES}


CASES: tuple[tuple[Database, Colour], ...] = (
    ("file", "sync"),
    ("memory", "async"),
    ("postgres", "async"),
    ("postgres", "sync"),
)


@pytest.fixture(params=CASES[:3], ids="-".join)
async def mine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mine]:
    """The store of this module's tests: every database and either colour, not every pair of them."""
    database, colour = request.param
    url = f"sqlite:///{tmp_path}/store.db" if database == "file" else MEMORY
    if database == "postgres":
        url = request.getfixturevalue("postgres_url")
    site = Site(url, colour)
    yield await Mine(site).open()
    await site.close()


ALL = list(range(PAGES * PER_PAGE))
LATER = Retry(backoff="10m", max_backoff="10m", jitter=0)
NOW = Retry(backoff=0)


async def every_kind(mine: Mine) -> None:
    """One entity for each kind of step."""
    await mine.left("resume", 2)
    await mine.dies("restart")
    await mine.fails("retry", OSError("hung up"), upto=1, retry=NOW)
    await mine.fails("given up", OSError("no such user"), retry=Retry(max_attempts=1))
    for _ in range(5):
        await mine.dies("killer")
    await mine.left("damaged", 2)
    await mine.store.execute(
        "UPDATE belaypin_checkpoint SET progress = 'garbage' WHERE entity = 'damaged' AND stream <> ''"
    )
    await mine.fails("wait", OSError("too many requests"), retry=LATER)


def shape(plan: belaypin.Plan) -> list[tuple[str, str]]:
    return [(s.kind, s.key.entity if s.key else s.operation_id or "") for s in plan.steps]


# --- the plan -------------------------------------------------------------------------------------


async def test_each_kind_of_step_has_its_reason(mine: Mine) -> None:
    await every_kind(mine)
    plan = await mine.plan()
    assert shape(plan) == [
        ("repair", "damaged"),
        ("quarantine", "given up"),
        ("quarantine", "killer"),
        ("resume", "resume"),
        ("restart", "restart"),
        ("retry", "retry"),
        ("wait", "wait"),
    ]
    assert plan.counts == {
        "repair": 1, "quarantine": 2, "resume": 1, "restart": 1, "retry": 1, "wait": 1,
    }  # fmt: skip
    assert (plan.total, plan.due) == (7, 6)
    text = str(plan)
    for words in (
        "its open windows can't be read",
        "it failed once, last with OSError: no such user; its policy has given it up",
        "workers died 5 times in a row before they committed anything",
        "a window of posts is open and nobody is at it",
        "its worker died with no window open",
        "last with OSError: hung up; it is due",
        "OSError: too many requests; it is tried again at 2024-01-01",
    ):
        assert words in text
    as_dict = json.loads(json.dumps(plan.as_dict()))
    assert [step["kind"] for step in as_dict["steps"]] == [s.kind for s in plan.steps]


async def test_a_plan_changes_nothing(mine: Mine) -> None:
    await every_kind(mine)
    before = await mine.dump()
    await mine.plan()
    await mine.store.status("a")
    assert await mine.dump() == before


async def test_higher_priority_comes_first_then_the_kind_then_the_largest_lag(mine: Mine) -> None:
    for entity in ("old", "young", "new"):
        async with mine.store.lease("a", entity) as lease:
            if entity != "new":  # never covered: nobody knows how far it is behind
                await mine.pages(lease)
        mine.clock.advance(3600)
    for entity in ("new", "old", "young"):
        await mine.left(entity, 1, first_id=100)
    await mine.dies("important")
    await mine.fails("urgent", OSError("x"), retry=NOW)
    await mine.store.prioritise(("a", "important"), 5)
    await mine.store.prioritise(("a", "urgent"), 9)
    await mine.store.prioritise(("a", "old"), -1)
    plan = await mine.plan()
    assert shape(plan) == [
        ("retry", "urgent"),
        ("restart", "important"),
        ("resume", "new"),
        ("resume", "young"),
        ("resume", "old"),
    ]
    assert [step.priority for step in plan.steps] == [9, 5, 0, 0, -1]
    await mine.store.prioritise(("a", "old"), 0)
    plan = await mine.plan()
    assert shape(plan)[2:] == [("resume", "new"), ("resume", "old"), ("resume", "young")]
    hours = [None if step.lag is None else step.lag // timedelta(hours=1) for step in plan.steps]
    assert hours[2:] == [None, 3, 2]


async def test_live_work_is_never_listed(mine: Mine) -> None:
    async with mine.store.lease("a", "busy", ttl_s=3600) as lease:
        assert (await mine.plan()).total == 0
        await mine.pages(lease, 2)
        assert (await mine.plan()).total == 0
        await mine.dies(
            "busy", 1, first_id=100, role="second"
        )  # another role of it is listed, and only that
        plan = await mine.plan()
        assert [(s.kind, s.role) for s in plan.steps] == [("resume", "second")]
    assert {s.role for s in (await mine.plan()).steps} == {"main", "second"}


async def test_a_crash_at_the_very_first_attempt_is_found(mine: Mine) -> None:
    """Before anything was committed, and with nothing in any row but the lease itself."""
    await mine.dies("user:1")
    assert shape(await mine.plan()) == [("restart", "user:1")]
    assert (await mine.recover(mine.finish)).counts == {"done": 1}
    assert await mine.effects("user:1") == ALL


async def test_what_is_done_is_never_listed(mine: Mine) -> None:
    await mine.left("done", PAGES)
    assert (await mine.plan()).total == 0
    assert str(await mine.plan()).startswith("nothing to recover")


async def test_a_lease_from_before_the_clock_was_set_back_counts_as_dead(mine: Mine) -> None:
    lease = mine.store.lease("a", "ahead")
    await lease.acquire()
    await mine.pages(lease, 1)
    assert (await mine.plan()).total == 0
    mine.clock.advance(-86_400)
    assert shape(await mine.plan()) == [("resume", "ahead")]
    report = await mine.recover(mine.finish)
    assert report.counts == {"done": 1}
    assert await mine.effects("ahead") == ALL


async def test_a_short_list_still_counts_everything(mine: Mine) -> None:
    for number in range(5):
        await mine.left(f"user:{number}", 1)
    plan = await mine.plan(limit=2)
    assert (len(plan.steps), plan.total, plan.counts) == (2, 5, {"resume": 5})
    assert "and 3 more steps" in str(plan)
    assert (await mine.plan(pipeline="b")).total == 0
    assert (await mine.plan(pipeline="a")).total == 5


async def test_estimates_come_from_history(mine: Mine) -> None:
    for entity, seconds in (("known", 10), ("known", 30), ("other", 80)):
        async with mine.store.lease("a", entity, ttl_s=3600):
            mine.clock.advance(seconds)
    await mine.left("known", 1)  # a run that takes no time at all
    await mine.left("unknown", 1)
    await mine.site.query("UPDATE belaypin_checkpoint SET runs = 0 WHERE entity = 'unknown'")
    async with mine.store.lease("b", "first") as lease:
        await mine.pages(lease, 1)
    await mine.site.query("UPDATE belaypin_checkpoint SET runs = 0 WHERE pipeline = 'b'")
    plan = await mine.plan()
    estimates = {step.key.entity: step.estimate for step in plan.steps if step.key}
    assert estimates["known"] == timedelta(seconds=40) // 3
    assert estimates["unknown"] == timedelta(seconds=120) // 4
    assert estimates["first"] is None
    assert plan.estimate == timedelta(seconds=40) // 3 + timedelta(seconds=30)
    assert plan.unestimated == 1


# --- what is known of an entity -------------------------------------------------------------------


async def test_failures_are_counted_until_something_is_committed_or_ends_well(mine: Mine) -> None:
    key = ("a", "user:1")
    for number in range(1, 4):
        await mine.fails("user:1", ValueError(f"no. {number}\0"), retry=LATER)
        found = await mine.store.status(key)
        assert (found.failed_runs, found.status) == (number, "waiting")
        assert found.error == f"ValueError: no. {number}\\0"
        assert found.next_try_at - found.failed_at == timedelta(minutes=10)
    await mine.fails("user:1", ValueError("further on"), upto=1, retry=LATER)
    assert (await mine.store.status(key)).failed_runs == 1  # it came further
    rows = await mine.site.query("SELECT traceback FROM belaypin_checkpoint WHERE failed_runs > 0")
    assert "further on" in rows[0][0]
    assert "raise error" in rows[0][0]
    async with mine.store.lease(*key):
        pass
    found = await mine.store.status(key)
    assert (found.failed_runs, found.error, found.next_try_at) == (0, None, None)


async def test_the_end_of_another_role_forgives_nothing(mine: Mine) -> None:
    await mine.fails("user:1", ValueError("x"), retry=NOW)
    async with mine.store.lease("a", "user:1", role="live"):
        pass
    assert shape(await mine.plan()) == [("retry", "user:1")]


async def test_to_be_told_to_stop_is_no_failure(mine: Mine) -> None:
    for stop in (KeyboardInterrupt, asyncio.CancelledError, SystemExit):
        with suppress(stop):
            async with mine.store.lease("a", "user:1") as lease:
                await mine.pages(lease, 1)
                raise stop
    found = await mine.store.status(("a", "user:1"))
    assert (found.failed_runs, found.idle_attempts, found.error) == (0, 0, None)
    assert shape(await mine.plan()) == [("resume", "user:1")]


async def test_a_lost_lease_is_no_failure_of_the_entity(mine: Mine) -> None:
    zombie = await mine.dies("user:1", 1)
    async with mine.store.lease("a", "user:1") as lease:
        with pytest.raises(Fenced) as caught:
            await mine.pages(zombie)
        await zombie.__aexit__(Fenced, caught.value, None)
        await mine.pages(lease)
    found = await mine.store.status(("a", "user:1"))
    assert (found.failed_runs, found.error, found.status) == (0, None, "open")


async def test_deaths_count_only_without_a_commit_between_them(mine: Mine) -> None:
    for number in range(PAGES - 1):
        await mine.dies("slow", 1)
        assert (await mine.store.status(("a", "slow"))).idle_attempts == 1
        assert shape(await mine.plan(deaths=2)) == [("resume", "slow")], number
    await mine.dies("slow")
    await mine.dies("slow")
    assert shape(await mine.plan(deaths=2)) == [("quarantine", "slow")]
    assert shape(await mine.plan(deaths=3)) == [("resume", "slow")]


async def test_a_commit_after_the_last_death_counts_too(mine: Mine) -> None:
    """The worker that dies next has come further: it is no death without progress."""
    for _ in range(3):
        await mine.dies("slow")
    await mine.dies("slow", 2)
    assert (await mine.store.status(("a", "slow"))).idle_attempts == 4
    assert shape(await mine.plan(deaths=4)) == [("resume", "slow")]


# --- recovery -------------------------------------------------------------------------------------


async def test_recovery_does_each_step_and_commits_each_item_once(mine: Mine) -> None:
    await every_kind(mine)
    report = await mine.recover(mine.finish)
    assert report.counts == {"repaired": 1, "quarantined": 2, "done": 4}
    assert report.ok
    assert shape(report.left) == [("wait", "wait")]
    assert report.left.quarantined == 2
    for entity in ("resume", "restart", "retry", "damaged"):
        assert await mine.effects(entity) == ALL, entity
    for entity in ("killer", "given up", "wait"):
        assert await mine.effects(entity) == []
    assert "4 done" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["counts"] == report.counts
    acts = [(e.action, e.key) for e in await mine.store.audit()]
    assert acts == [
        ("recover", None),
        ("quarantine", Key("a", "killer")),
        ("quarantine", Key("a", "given up")),
        ("repair", Key("a", "damaged", "posts")),
    ]
    assert (await mine.store.verify()).ok


async def test_recovery_goes_on_at_the_committed_page_however_early_it_stopped(mine: Mine) -> None:
    """Never restarted below some share of progress: a finished effect is not run again."""
    await mine.left("barely begun", 1)
    mine.fetched.clear()
    await mine.recover(mine.finish)
    assert mine.fetched[0] == ("barely begun", 1)
    assert await mine.effects("barely begun") == ALL


@pytest.mark.parametrize("with_work", [False, True])
async def test_to_recover_twice_is_to_recover_once(mine: Mine, with_work: bool) -> None:
    await every_kind(mine)
    work = mine.finish if with_work else None
    first = await mine.recover(work)
    before = await mine.dump()
    second = await mine.recover(work)
    assert await mine.dump() == before
    assert second.left.steps == first.left.steps
    assert set(second.counts) <= {"left"}


async def test_without_work_the_store_does_what_it_can_alone(mine: Mine) -> None:
    zombie = await mine.dies("user:1", 2)
    report = await mine.recover()
    assert report.counts == {"fenced": 1}
    assert not report.ok
    assert shape(report.left) == [("resume", "user:1")]
    with pytest.raises(Fenced):  # it comes back after all
        await mine.pages(zombie)
    assert (await mine.store.verify()).ok
    assert (await mine.recover(mine.finish)).counts == {"done": 1}
    assert await mine.effects("user:1") == ALL


async def test_an_error_of_one_step_stops_no_other(mine: Mine) -> None:
    for number in range(3):
        await mine.left(f"user:{number}", 1)

    async def work(lease: Any, step: belaypin.Step) -> None:
        if lease.key.entity == "user:1":
            raise ZeroDivisionError("in the middle")
        await mine.finish(lease, step)

    report = await mine.recover(work, retry=LATER)
    assert report.counts == {"done": 2, "failed": 1}
    assert not report.ok
    failed = next(o for o in report.outcomes if o.result == "failed")
    assert failed.error == "ZeroDivisionError: in the middle"
    assert shape(report.left) == [("wait", "user:1")]
    assert report.left.steps[0].due_at == datetime.fromtimestamp(
        mine.clock.us / 1_000_000 + 600, UTC
    )
    mine.clock.advance(601)
    assert (await mine.recover(mine.finish)).counts == {"done": 1}
    assert (await mine.recover(mine.finish)).counts == {}


async def test_what_fails_again_and_again_is_put_aside_and_can_be_readmitted(mine: Mine) -> None:
    policy = Retry(max_attempts=3, backoff="1s", jitter=0)
    await mine.left("poison", 1)
    calls = 0

    async def work(lease: Any, step: belaypin.Step) -> None:
        nonlocal calls
        calls += 1
        raise ValueError("a poisoned page")

    for _ in range(3):
        assert (await mine.recover(work, retry=policy)).counts == {"failed": 1}
        mine.clock.advance(10)
    report = await mine.recover(work, retry=policy)
    assert report.counts == {"quarantined": 1}
    assert (calls, report.left.total, report.left.quarantined) == (3, 0, 1)
    found = await mine.store.status(("a", "poison"))
    assert found.status == "quarantined"
    assert "a poisoned page" in found.quarantine_reason
    assert await mine.store.readmit(("a", "poison"))
    assert not await mine.store.readmit(("a", "never seen"))
    assert (await mine.store.audit())[0].action == "readmit"
    assert (await mine.recover(mine.finish)).counts == {"done": 1}
    assert await mine.effects("poison") == ALL


async def test_a_run_by_hand_that_ends_well_lifts_the_quarantine(mine: Mine) -> None:
    for _ in range(5):
        await mine.dies("killer")
    assert (await mine.recover()).counts == {"quarantined": 1}
    assert (await mine.plan()).quarantined == 1
    await mine.left("killer", PAGES)
    assert (await mine.plan()).quarantined == 0
    assert (await mine.store.status(("a", "killer"))).status == "open"


async def test_a_step_that_gets_nowhere_is_not_run_twice_in_one_call(mine: Mine) -> None:
    await mine.left("stuck", 1)
    await mine.left("slow", 1)
    calls: list[str] = []

    async def work(lease: Any, step: belaypin.Step) -> None:
        calls.append(lease.key.entity)
        if lease.key.entity == "slow":
            await mine.pages(lease, 1)

    report = await mine.recover(work)
    assert calls.count("stuck") == 1
    assert calls.count("slow") == PAGES - 1
    assert report.counts == {"done": PAGES - 1, "stalled": 1}
    assert shape(report.left) == [("resume", "stuck")]


async def test_a_step_that_somebody_has_done_since_is_not_done_again(mine: Mine) -> None:
    await mine.dies("user:1", 1)
    await mine.left("user:2", 1)
    old = await mine.plan()
    assert (await mine.recover(mine.finish)).counts == {"done": 2}
    mine.fetched.clear()
    report = await mine.recover(mine.finish, plan=old)
    assert mine.fetched == []
    assert report.counts == {"taken": 2}
    assert report.ok


async def test_only_the_steps_of_a_given_plan_are_done(mine: Mine) -> None:
    await mine.left("one", 1)
    plan = await mine.plan()
    await mine.left("two", 1)
    assert (await mine.recover(mine.finish, plan=plan)).counts == {"done": 1}
    assert shape(await mine.plan()) == [("resume", "two")]
    await mine.left("three", 1)
    report = await mine.recover(mine.finish, limit=1)
    assert report.counts == {"done": 1}
    assert report.left.total == 1


# --- operations and damage ------------------------------------------------------------------------


async def test_operations_that_failed_or_were_abandoned_are_listed(mine: Mine) -> None:
    with suppress(OSError):
        async with mine.store.once("failed"):
            raise OSError("declined")
    async with mine.store.once("done"):
        pass
    await mine.store.once("abandoned").__aenter__()
    mine.clock.advance(61)
    async with mine.store.once("running"):
        plan = await mine.plan()
        assert shape(plan) == [("retry", "abandoned"), ("retry", "failed")]
        assert "attempt 1 failed with OSError: declined" in str(plan)
        report = await mine.recover()
        assert report.counts == {"lapsed": 1, "left": 1}
        assert (await mine.recover()).counts == {"left": 2}
    rows = await mine.site.query("SELECT operation_id, status FROM belaypin_operation ORDER BY 1")
    expected = {"abandoned": "failed", "done": "done", "failed": "failed", "running": "done"}
    assert dict(rows) == expected
    async with mine.store.once("abandoned") as op:
        assert op.attempt == 2
    assert shape(await mine.plan(pipeline="a")) == []


async def test_items_that_failed_are_tried_again_when_they_are_due(mine: Mine) -> None:
    policy = Retry(backoff="10m", max_backoff="10m", jitter=0)
    is_broken = True

    async def attempt(lease: Any, step: belaypin.Step | None = None) -> None:
        async for window in lease.windows("posts", since="1d", at="at", retry=policy):
            async for page in window.pages(lambda cursor: (items, None)):
                async with page.commit() as tx:
                    for item in await tx.fresh(page.items, key="id"):
                        async with tx.attempt(item):
                            if item["id"] == 1 and is_broken:
                                raise ValueError("no such post")

    items = [{"id": n, "at": "2023-12-31T12:00:00Z"} for n in range(3)]
    async with mine.store.lease("a", "user:1") as lease:
        await attempt(lease)
    plan = await mine.plan()
    assert shape(plan) == [("wait", "user:1")]
    assert plan.steps[0].due_at == datetime.fromtimestamp(mine.clock.us / 1_000_000 + 600, UTC)
    mine.clock.advance(601)
    plan = await mine.plan()
    assert shape(plan) == [("retry", "user:1")]
    assert "items failed (1 of posts), and are due" in str(plan)
    assert (await mine.recover(attempt)).counts == {"done": 1}  # it fails again
    assert shape(await mine.plan()) == [("wait", "user:1")]
    mine.clock.advance(601)
    is_broken, items = False, []
    assert (await mine.recover(attempt)).counts == {"done": 1}
    assert (await mine.plan()).total == 0
    assert await mine.store.seen(("a", "user:1", "posts"), [0, 1, 2]) == {0, 1, 2}


async def test_findings_of_verify_become_steps(mine: Mine) -> None:
    await mine.left("user:1", 2)
    await mine.store.save(("a", "user:1", "totals"), {"n": 1})
    spoil = "X'00'" if not mine.site.url.startswith("postgresql") else "'\\x00'"
    await mine.store.execute(
        f"UPDATE belaypin_checkpoint SET state = {spoil} WHERE stream = 'totals'"
    )
    await mine.store.execute("UPDATE belaypin_checkpoint SET is_open = 0 WHERE stream = 'posts'")
    assert (await mine.plan()).total == 0  # as plans go by the flag
    findings = await mine.store.verify()
    assert {f.kind for f in findings.findings} == {"state-corrupt", "open-flag"}
    plan = await mine.plan(findings=findings)
    assert [step.kind for step in plan.steps] == ["repair", "repair"]
    report = await mine.recover(plan=plan)
    assert report.counts == {"repaired": 1, "left": 1}
    assert not report.ok
    assert [step.kind for step in report.left.steps] == ["repair", "resume"]
    assert "from a backup" in str(report.left)
    assert shape(await mine.plan()) == [("resume", "user:1")]


async def test_usage(mine: Mine) -> None:
    for bad in ("a", ("a", "b", "c")):
        with pytest.raises(UsageError, match="is no entity"):
            await mine.store.prioritise(bad, 1)
        with pytest.raises(UsageError, match="is no entity"):
            await mine.store.readmit(bad)
    for value in (1.5, True, 10**10, "high"):
        with pytest.raises(UsageError, match="priority"):
            await mine.store.prioritise(("a", "b"), value)
    for options in ({"limit": 0}, {"deaths": 0}):
        with pytest.raises(UsageError):
            await mine.plan(**options)
    with pytest.raises(UsageError, match="limit"):
        await mine.recover(limit=0)


# --- what a page pays -----------------------------------------------------------------------------


@pytest.mark.parametrize("mine", CASES[3:], ids="-".join, indirect=True)
async def test_a_page_changes_no_indexed_column(mine: Mine) -> None:
    """Between the first page of a window and its last every update of the row is a cheap one."""
    async with mine.store.lease("a", "user:1") as lease:
        await mine.pages(lease, 1)
        version = await updates(mine)
        await mine.pages(lease, 2)
        after = await updates(mine)
        assert after["n_tup_upd"] - version["n_tup_upd"] == 2
        assert after["n_tup_hot_upd"] - version["n_tup_hot_upd"] == 2


async def updates(mine: Mine) -> dict[str, int]:
    """The server's own counters, once every session has told it of its updates."""
    await asyncio.sleep(1.1)
    await mine.store.execute("SELECT 1")
    await asyncio.sleep(0.1)
    names = ("n_tup_upd", "n_tup_hot_upd")
    rows = await mine.site.query(
        f"SELECT {', '.join(names)} FROM pg_stat_user_tables WHERE relname = 'belaypin_checkpoint'"
    )
    return dict(zip(names, rows[0], strict=True))
