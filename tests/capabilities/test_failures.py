"""Failing items: put aside as explicit holes, tried again, quarantined, replayed or skipped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import belaypin
from belaypin import Fenced, Retry, UsageError
from tests.capabilities.sites import FixedClock, Site

KEY = ("shop", "user:7", "posts")
EXACT = Retry(max_attempts=3, backoff="10s", jitter=0)
HOUR = timedelta(hours=1)
MEMORY = pytest.mark.parametrize("database", ["memory"])
BOTH = pytest.mark.parametrize("database", ["memory", "postgres"])
INSTANT = timedelta(microseconds=1)


def at(hour: int) -> datetime:
    """The event time of the item of an hour of the day before the clock starts."""
    return datetime(2023, 12, 31, tzinfo=UTC) + hour * HOUR


def item(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "at": at(number).isoformat(), "text": "", **more}


class Work:
    """A source of items, the loop that processes them, and what it did."""

    def __init__(self, site: Site, store: Any, clock: FixedClock, numbers: range) -> None:
        self.site, self.store, self.clock = site, store, clock
        self.items = [item(n) for n in numbers]
        self.bad: dict[int, Exception] = {}
        self.options: dict[str, Any] = {"at": "at", "since": "10d", "retry": EXACT}
        self.content: list[str] | None = None
        self.revision: str | None = None
        self.fetched: list[int] = []

    async def run(self, *, stop_after: int | None = None) -> list[tuple[int, bool, bool]]:
        """One pass: each item that was attempted, whether as a retry, and whether it failed."""
        seen: list[tuple[int, bool, bool]] = []
        async with self.store.lease(*KEY[:2]) as lease:
            async for window in lease.windows(KEY[2], **self.options):
                async for page in window.pages(lambda cursor, w=window: self.fetch(w, cursor)):
                    async with page.commit() as tx:
                        await self.process(tx, window.is_retry, page.items, seen)
                    if stop_after is not None and len(seen) >= stop_after:
                        return seen
        return seen

    async def process(
        self, tx: Any, is_retry: bool, items: list[Any], seen: list[tuple[int, bool, bool]]
    ) -> None:
        for post in await tx.fresh(items, key="id", content=self.content, revision=self.revision):
            async with tx.attempt(post) as attempt:
                await self.write(tx, post)
                if post["id"] in self.bad:
                    raise self.bad[post["id"]]
            seen.append((post["id"], is_retry, attempt.failed))

    async def write(self, tx: Any, post: dict[str, Any]) -> None:
        mark = "%s" if self.site.url.startswith("postgresql") else "?"
        sql = f"INSERT INTO effect VALUES ({mark}, {mark})"
        await tx.execute(sql, (post["id"], post.get("text", "")))

    def fetch(self, window: Any, cursor: Any) -> tuple[list[Any], Any]:
        wanted = [
            i for i in self.items if window.start <= datetime.fromisoformat(i["at"]) < window.end
        ]
        first = cursor or 0
        page = wanted[first : first + 3]
        self.fetched += [i["id"] for i in page]
        return page, first + 3 if first + 3 < len(wanted) else None

    async def effects(self) -> list[int]:
        return [n for (n,) in await self.site.query("SELECT id FROM effect ORDER BY id")]

    async def holes(self) -> list[datetime]:
        """The starts of the gaps, which are all as small as can be."""
        gaps = await self.store.gaps(KEY)
        assert all(gap.duration == INSTANT for gap in gaps)
        return [gap.start for gap in gaps]

    async def sound(self) -> None:
        """Each item has one effect or one failure row, and the store contradicts itself nowhere."""
        report = await self.store.verify()
        assert report.ok, str(report)
        failed = [f.item_id for f in await self.store.failures(*KEY)]
        effects = await self.effects()
        assert len(set(effects)) == len(effects)
        assert not {*failed} & {*effects}
        rows = await self.site.query("SELECT failures FROM belaypin_checkpoint WHERE stream <> ''")
        assert [n for (n,) in rows] == [len(failed)] * len(rows)
        stream = await self.store.load(KEY)
        assert stream is None or stream.items >= len(effects)


@pytest.fixture
async def work(site: Site) -> Work:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await store.execute("CREATE TABLE effect (id INTEGER UNIQUE, text TEXT)")
    return Work(site, store, clock, range(8))


# --- put aside ------------------------------------------------------------------------------------


async def test_a_failing_item_is_put_aside_and_the_others_go_on(work: Work) -> None:
    work.bad = {2: ValueError("no such\0 user \ud800"), 3: KeyError("x")}
    seen = await work.run()
    assert [n for n, _, failed in seen if failed] == [2, 3]
    assert await work.effects() == [0, 1, 4, 5, 6, 7]
    first, second = await work.store.failures()
    assert (first.item_id, first.status, first.attempts) == (2, "waiting", 1)
    assert first.error == "ValueError: no such\\0 user \\ud800"
    assert "in process" in first.traceback
    assert (second.item_id, second.error) == (3, "KeyError: 'x'")
    assert (first.event_at, first.key) == (at(2), belaypin.Key(*KEY))
    assert first.next_try_at - first.first_failed_at == timedelta(seconds=10)
    assert (await work.store.failure(first.failure_id)).payload == item(2)
    assert (await work.store.load(KEY)).items == 6
    await work.sound()


@BOTH
async def test_its_instant_is_a_hole_that_is_not_fetched_again(work: Work) -> None:
    """GUARANTEES 3: a watermark would have lost it."""
    work.bad = {2: ValueError()}
    await work.run()
    assert await work.holes() == [at(2)]
    work.fetched.clear()
    await work.run()
    assert work.fetched == [7]  # the head, whose newest item may have ties; never the hole
    assert await work.holes() == [at(2)]


@MEMORY
async def test_without_event_times_the_row_is_the_hole(work: Work) -> None:
    work.options["at"] = None
    work.bad = {2: ValueError()}
    await work.run()
    assert await work.store.gaps(KEY) == []
    assert [f.event_at for f in await work.store.failures()] == [None]
    work.bad.clear()
    work.clock.advance(11)
    assert (await work.run())[0] == (2, True, False)
    assert await work.effects() == [*range(8)]
    await work.sound()


async def test_what_the_attempt_wrote_is_undone_and_nothing_else(work: Work) -> None:
    await work.store.execute("INSERT INTO effect VALUES (4, 'was there')")  # a UNIQUE column
    seen = await work.run()
    assert [n for n, _, failed in seen if failed] == [4]
    (failure,) = await work.store.failures()
    assert failure.error.startswith("SqlError: ")
    assert await work.effects() == [*range(8)]


@MEMORY
@pytest.mark.parametrize("error", [Fenced("lost"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_is_not_the_items_fault_undoes_the_commit(
    work: Work, error: BaseException
) -> None:
    work.bad = {1: error}  # type: ignore[dict-item]
    with pytest.raises(type(error)):
        await work.run()
    assert await work.effects() == []
    assert await work.store.failures() == []
    work.bad.clear()
    await work.run()
    assert await work.effects() == [*range(8)]


@MEMORY
async def test_an_exception_that_the_policy_does_not_cover_undoes_the_commit(work: Work) -> None:
    work.options["retry"] = Retry(retry_on=(OSError,))
    work.bad = {1: ValueError()}
    with pytest.raises(ValueError, match="^$"):
        await work.run()
    assert await work.effects() == []
    assert await work.store.failures() == []


@MEMORY
async def test_a_page_on_which_every_item_fails_is_committed(work: Work) -> None:
    work.bad = {n: ValueError() for n in range(8)}
    await work.run()
    assert await work.effects() == []
    assert len(await work.store.failures()) == 8
    work.bad.clear()
    work.clock.advance(11)
    assert sorted(n for n, is_retry, _ in await work.run() if is_retry) == [*range(8)]
    assert await work.holes() == []
    await work.sound()


@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["file", "postgres"])
async def test_attempts_in_a_transaction_of_the_users_own(work: Work) -> None:
    work.bad = {2: ValueError()}
    for commits in (False, True):
        with work.site.user() as connection:
            async with work.store.lease(*KEY[:2]) as lease:
                async for window in lease.windows(KEY[2], since="10d", at="at", retry=EXACT):
                    async for page in window.pages(lambda cursor: (work.items, None)):
                        joined = work.store.joined(connection)
                        async with page.commit(joined) as tx:
                            await work.process(tx, False, page.items, [])
                        connection.commit() if commits else connection.rollback()
        failed = [f.item_id for f in await work.store.failures()]
        assert failed == ([2] if commits else [])
    assert await work.effects() == [0, 1, 3, 4, 5, 6, 7]
    assert await work.holes() == [at(2)]
    await work.sound()


# --- tried again ----------------------------------------------------------------------------------


@BOTH
async def test_a_retry_comes_first_when_it_is_due_and_fills_its_hole(work: Work) -> None:
    work.bad = {2: ValueError()}
    await work.run()
    work.clock.advance(9)
    assert await work.run() == []
    work.bad.clear()
    work.items.append(item(8))
    work.clock.advance(2)
    assert await work.run() == [(2, True, False), (8, False, False)]
    assert await work.holes() == []
    assert await work.store.failures() == []
    assert await work.effects() == [*range(9)]
    await work.sound()


@MEMORY
async def test_attempts_grow_until_it_is_quarantined(work: Work) -> None:
    work.bad = {2: ValueError()}
    await work.run()
    for attempts, status, pause_s in ((2, "waiting", 10), (3, "quarantined", 20)):
        work.clock.advance(pause_s)
        assert await work.run() == [(2, True, True)]
        (failure,) = await work.store.failures()
        assert (failure.attempts, failure.status) == (attempts, status)
    work.clock.advance(10_000)
    assert await work.run() == []
    assert await work.holes() == [at(2)]


@MEMORY
async def test_an_error_to_give_up_on_quarantines_at_once(work: Work) -> None:
    work.options["retry"] = Retry(give_up_on=(KeyError,))
    work.bad = {2: KeyError()}
    await work.run()
    assert [f.status for f in await work.store.failures()] == ["quarantined"]


@BOTH
async def test_a_read_again_neither_hastens_nor_doubles_it(work: Work) -> None:
    work.options["overlap"] = "10d"
    work.bad = {2: ValueError(), 3: ValueError()}
    await work.run()
    work.bad.clear()
    assert await work.run() == []
    work.clock.advance(11)
    assert sorted(await work.run()) == [(2, True, False), (3, True, False)]
    assert await work.effects() == [*range(8)]
    assert (await work.store.load(KEY)).items == 8
    assert await work.run() == []
    await work.sound()


@MEMORY
async def test_the_source_may_be_faster_than_the_retry(work: Work) -> None:
    """What is due and fetched is processed there and then; its row goes in the same commit."""
    work.options["overlap"] = "10d"
    work.bad = {2: ValueError()}
    await work.run()
    work.bad.clear()
    async with work.store.lease(*KEY[:2]) as lease:
        windows = lease.windows(KEY[2], **work.options)  # asked for before the item is due
        async for window in windows:
            work.clock.advance(11)
            async for page in window.pages(lambda cursor, w=window: work.fetch(w, cursor)):
                seen: list[Any] = []
                async with page.commit() as tx:
                    await work.process(tx, window.is_retry, page.items, seen)
                assert (2, True, False) not in seen
    assert await work.effects() == [*range(8)]
    assert await work.store.failures() == []
    assert await work.holes() == []
    await work.sound()


@MEMORY
async def test_newer_content_counts_as_its_retry(work: Work) -> None:
    work.options["overlap"] = "10d"
    work.content = ["text"]
    work.bad = {2: ValueError()}
    await work.run()
    work.bad.clear()
    work.items[2]["text"] = "edited"
    assert await work.run() == [(2, False, False)]
    assert await work.store.failures() == []
    assert await work.site.query("SELECT text FROM effect WHERE id = 2") == [("edited",)]
    await work.sound()


@BOTH
async def test_a_change_that_fails_is_put_aside_and_retried(work: Work) -> None:
    await work.store.execute("DROP TABLE effect")
    await work.store.execute("CREATE TABLE effect (id INTEGER, text TEXT)")
    work.options["overlap"] = "10d"
    work.content = ["text"]
    await work.run()
    assert await work.holes() == []
    work.items[2]["text"] = "edited"
    work.bad = {2: ValueError()}
    await work.run()
    assert await work.holes() == [at(2)]  # its newest content is not processed
    assert (await work.store.load(KEY)).changed == 0
    work.bad.clear()
    work.clock.advance(11)
    assert await work.run() == [(2, True, False)]
    assert (await work.store.load(KEY)).changed == 1
    assert await work.holes() == []
    assert (await work.store.verify()).ok


@MEMORY
async def test_a_change_that_is_taken_back_is_settled(work: Work) -> None:
    work.options["overlap"] = "10d"
    work.content = ["text"]
    await work.run()
    work.items[2]["text"] = "edited"
    work.bad = {2: ValueError()}
    await work.run()
    work.items[2]["text"] = ""
    assert await work.run() == []
    assert await work.store.failures() == []
    assert await work.holes() == []


@MEMORY
async def test_a_quarantined_item_keeps_its_newest_content(work: Work) -> None:
    work.options |= {"overlap": "10d", "retry": Retry(max_attempts=1)}
    work.content = ["text"]
    work.bad = {2: ValueError()}
    await work.run()
    work.bad.clear()
    work.items[2]["text"] = "edited"
    assert await work.run() == []
    assert await work.store.replay(*KEY) == 1
    assert await work.run() == [(2, True, False)]
    assert await work.site.query("SELECT text FROM effect WHERE id = 2") == [("edited",)]
    await work.sound()


@MEMORY
async def test_an_older_revision_neither_hastens_nor_replaces_it(work: Work) -> None:
    work.options["overlap"] = "10d"
    work.revision = "revision"
    for post in work.items:
        post["revision"] = 5
    work.bad = {2: ValueError()}
    await work.run()
    work.bad.clear()
    work.items[2] |= {"revision": 4, "text": "old"}
    assert await work.run() == []
    work.clock.advance(11)
    assert await work.run() == [(2, True, False)]
    assert await work.site.query("SELECT text FROM effect WHERE id = 2") == [("",)]
    work.items.append(item(8, revision=1))
    work.bad = {8: ValueError()}
    await work.run()
    work.bad.clear()
    work.items[8] |= {"revision": 2, "text": "edited"}
    assert await work.run() == [(8, False, False)]
    await work.sound()


@BOTH
async def test_two_items_of_one_instant_share_a_hole(work: Work) -> None:
    work.items.insert(3, {**item(2), "id": 22})
    work.bad = {2: ValueError(), 22: ValueError()}
    await work.run()
    assert await work.holes() == [at(2)]
    del work.bad[2]
    work.clock.advance(11)
    await work.run()
    assert await work.holes() == [at(2)]
    work.bad.clear()
    work.clock.advance(21)
    await work.run()
    assert await work.holes() == []
    await work.sound()


@MEMORY
async def test_a_crash_between_pages_keeps_what_was_put_aside(work: Work) -> None:
    work.bad = {1: ValueError(), 4: ValueError()}
    await work.run(stop_after=3)
    assert [f.item_id for f in await work.store.failures()] == [1]
    assert await work.store.coverage(KEY) == []
    await work.run()
    assert await work.holes() == [at(1), at(4)]
    await work.sound()


@MEMORY
async def test_more_failures_than_a_page_holds(work: Work) -> None:
    work.items = [{"id": n, "at": at(1).isoformat()} for n in range(450)]
    work.bad = {n: ValueError() for n in range(450)}
    await work.run()
    work.bad.clear()
    work.clock.advance(11)
    sizes = []
    async with work.store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], **work.options):
            async for page in window.pages(lambda cursor: ([], None)):
                async with page.commit() as tx:
                    await work.process(tx, window.is_retry, page.items, [])
                sizes += [len(page.items)] if window.is_retry else []
    assert sizes == [200, 200, 50]
    assert await work.effects() == [*range(450)]
    await work.sound()


@MEMORY
async def test_live_events_may_fail_too(work: Work) -> None:
    work.bad = {2: ValueError()}
    async with (
        work.store.lease(*KEY[:2], role="live") as lease,
        lease.live(KEY[2], at="at", retry=EXACT) as live,
    ):
        work.clock.advance(60)
        now = datetime.fromtimestamp(work.clock.us / 1e6, UTC) - timedelta(seconds=30)
        batch = live.batch([{**item(2), "at": now.isoformat()}])
        async with batch.commit() as tx:
            await work.process(tx, False, batch.items, [])
        assert tx.failed == batch.items
        work.clock.advance(60)
        await live.heartbeat()
    assert await work.holes() == [now]
    work.bad.clear()
    assert (await work.run())[0] == (2, True, False)


# --- how attempts are used ------------------------------------------------------------------------


@dataclass
class Post:
    id: int


@MEMORY
async def test_an_item_that_is_no_json_needs_a_payload(work: Work) -> None:
    async def once(payload: Any) -> None:
        async with work.store.lease(*KEY[:2]) as lease:
            async for window in lease.windows(KEY[2], since="1d", retry=EXACT):
                async for page in window.pages(lambda cursor: ([Post(1)], None)):
                    async with page.commit() as tx:
                        for post in await tx.fresh(page.items, key="id"):
                            async with tx.attempt(post, payload=payload):
                                raise ValueError

    with pytest.raises(UsageError, match="payload"):
        await once(None)
    assert await work.store.failures() == []
    await once({"id": 1, "again": True})
    (failure,) = await work.store.failures()
    assert (await work.store.failure(failure.failure_id)).payload == {"id": 1, "again": True}


@MEMORY
@pytest.mark.parametrize(
    "odd", ["\ud800", "\0", float("inf"), 10**400, {"": [None, True, 1.5]}, "\U0010ffff\x7f"]
)
async def test_whatever_json_can_be_comes_back(work: Work, odd: Any) -> None:
    work.items = [item(1, odd=odd)]
    work.bad = {1: ValueError()}
    await work.run()
    (failure,) = await work.store.failures()
    assert (await work.store.failure(failure.failure_id)).payload == item(1, odd=odd)


@MEMORY
async def test_attempts_refuse_what_would_lose_an_item(work: Work) -> None:
    async with work.store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since="1d"):
            async for page in window.pages(lambda cursor: ([{"id": 1}, {"id": 2}], None)):
                async with page.commit() as tx:
                    one, two = await tx.fresh(page.items, key="id")
                    with pytest.raises(UsageError, match="was not returned"):
                        await _fail(tx, {"id": 1})
                    async with tx.attempt(one):
                        with pytest.raises(UsageError, match="don't nest"):
                            await _fail(tx, two)
                    await _fail(tx, two)
                    with pytest.raises(UsageError, match="put aside"):
                        await _fail(tx, two)
                    assert await tx.fresh(page.items, key="id") == []
    assert [f.item_id for f in await work.store.failures()] == [2]


async def _fail(tx: Any, post: Any) -> None:
    async with tx.attempt(post):
        raise ValueError


# --- what a person does ---------------------------------------------------------------------------


@BOTH
async def test_replay_gives_all_attempts_again(work: Work) -> None:
    work.options["retry"] = Retry(max_attempts=1)
    work.bad = {n: ValueError() if n % 2 else KeyError() for n in range(8)}
    await work.run()
    assert await work.store.replay("shop", error="KeyError") == 4
    assert await work.store.replay("shop", "user:8") == 0
    first = (await work.store.failures(status="quarantined"))[0]
    assert await work.store.replay(failure_id=first.failure_id) == 1
    assert await work.store.replay(failure_id=9_999) == 0
    work.bad.clear()
    assert sorted(n for n, is_retry, _ in await work.run() if is_retry) == [0, 1, 2, 4, 6]
    assert [f.item_id for f in await work.store.failures()] == [3, 5, 7]
    assert {entry.action for entry in await work.store.audit(KEY)} == {"replay"}
    await work.sound()


@BOTH
async def test_skip_fills_the_hole_for_good(work: Work) -> None:
    work.options |= {"overlap": "10d", "retry": Retry(max_attempts=1)}
    work.bad = {2: ValueError(), 5: ValueError()}
    await work.run()
    assert await work.store.skip(*KEY, status="quarantined") == 2
    assert await work.store.failures() == []
    assert await work.holes() == []
    assert await work.store.seen(KEY, range(8)) == {*range(8)}
    work.bad.clear()
    assert await work.run() == []
    assert await work.effects() == [0, 1, 3, 4, 6, 7]
    assert [e.detail["item_id"] for e in await work.store.audit(KEY)] == [5, 2]
    await work.sound()


async def test_skip_beside_a_worker_that_has_read_the_ledger(work: Work) -> None:
    work.bad = {1: ValueError()}
    work.options["overlap"] = "10d"
    await work.run()
    async with work.store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], **work.options):
            async for page in window.pages(lambda cursor, w=window: work.fetch(w, cursor)):
                assert await work.store.skip("shop") in (0, 1)
                async with page.commit() as tx:
                    assert await tx.fresh(page.items, key="id") == []
    await work.sound()


@BOTH
async def test_an_item_can_be_quarantined_before_it_comes(work: Work) -> None:
    failure_id = await work.store.quarantine(KEY, 3, "known to be wrong")
    await work.run()
    assert await work.effects() == [0, 1, 2, 4, 5, 6, 7]
    assert await work.holes() == [at(3)]
    failure = await work.store.failure(failure_id)
    assert (failure.payload, failure.error) == (item(3), "known to be wrong")
    assert await work.store.replay(failure_id=failure_id) == 1
    assert await work.run() == [(3, True, False)]
    await work.sound()
    with pytest.raises(UsageError, match="is committed already"):
        await work.store.quarantine(KEY, 3, "too late")
    work.bad = {8: ValueError()}
    work.items.append(item(8))
    await work.run()
    assert await work.store.quarantine(KEY, 8, "enough") > failure_id
    work.clock.advance(1_000)
    assert await work.run() == []


@BOTH
async def test_what_became_of_it_can_be_explained(work: Work) -> None:
    work.bad = {2: ValueError()}
    await work.run()
    waiting = await work.store.explain(KEY, 2)
    assert (waiting.verdict, waiting.reason) == ("skip", "waiting")
    work.clock.advance(11)
    due = await work.store.explain(KEY, 2)
    assert (due.verdict, due.is_committed) == ("process", False)
    assert "is tried again now" in str(due)
    await work.store.quarantine(KEY, 2, "enough")
    assert "until it is replayed or skipped" in str(await work.store.explain(KEY, 2))
    assert await work.store.skip("shop") == 1
    assert (await work.store.explain(KEY, 2)).reason == "unchanged"


@BOTH
async def test_failures_are_listed_page_by_page(work: Work) -> None:
    work.bad = {n: ValueError() if n < 5 else KeyError() for n in range(8)}
    await work.run()
    found = await work.store.failures(limit=5)
    found += await work.store.failures(limit=5, after=found[-1].failure_id)
    assert [f.item_id for f in found] == [*range(8)]
    assert [f.item_id for f in await work.store.failures("shop", error="KeyError")] == [5, 6, 7]
    assert await work.store.failures("other") == await work.store.failures("shop", "x") == []
    assert await work.store.failures(status="quarantined") == []
    assert await work.store.failure(0) is None


@MEMORY
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.replay(),
        lambda store: store.skip(),
        lambda store: store.skip("shop", failure_id=1),
        lambda store: store.skip("shop", item_id=1),
        lambda store: store.failures(status="done"),
        lambda store: store.failures(entity="user:7"),
        lambda store: store.failures(limit=0),
        lambda store: store.quarantine(KEY, 1, ""),
        lambda store: store.quarantine(KEY[:2], 1, "why"),
    ],
)
async def test_what_says_too_little_is_refused(work: Work, call: Any) -> None:
    with pytest.raises(UsageError):
        await call(work.store)


@BOTH
async def test_a_damaged_payload_is_quarantined_and_the_rest_goes_on(work: Work) -> None:
    work.bad = {2: ValueError(), 3: ValueError()}
    await work.run()
    mark = "%s" if work.site.url.startswith("postgresql") else "?"
    await work.store.execute(
        f"UPDATE belaypin_failure SET payload = {mark} WHERE item_id = 'i2'", (b"x" * 40,)
    )
    work.bad.clear()
    work.clock.advance(11)
    assert await work.run() == [(3, True, False)]
    (failure,) = await work.store.failures()
    assert (failure.item_id, failure.status) == (2, "quarantined")
    assert failure.error.startswith("CorruptRecord: ")
