"""Time travel: what was there before, the way back to it, and copies; on every store, in both colours."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

import belaypin
from belaypin import (
    CorruptRecord,
    Fenced,
    Key,
    LeaseHeld,
    Schema,
    UsageError,
    VersionConflict,
)
from belaypin.programs import forking, ledger, rewinding, savepoints
from belaypin.testing.conformance.source import minute
from tests.capabilities.sites import Awaited, Database, FixedClock, Site

ENTITY = ("shop", "user:7")
POSTS = (*ENTITY, "posts")
NOTE = (*ENTITY, "note")


@pytest.fixture(params=["memory", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """A store in a file runs the same code as one in memory: see tests/crash/test_travel.py."""
    database: Database = request.param
    return database


async def opened(site: Site, **options: Any) -> Any:
    if site.colour == "async":
        store: Any = await belaypin.aopen(site.url, **options)
    else:
        store = Awaited(belaypin.open(site.url, **options))
    site._stores.append(store)
    await store.execute("CREATE TABLE IF NOT EXISTS effect (id INTEGER)")
    return store


async def mine(
    store: Any,
    first: int,
    last: int,
    ids: Any = None,
    *,
    entity: str = "user:7",
    role: str = "main",
    stop: bool = False,
) -> list[int]:
    """Mine the minutes [first, last), one item each; returns what was new."""
    async with store.lease("shop", entity, role=role) as lease:
        return await mine_under(lease, first, last, ids, stop=stop)


async def mine_under(
    lease: Any, first: int, last: int, ids: Any = None, *, stop: bool = False
) -> list[int]:
    found: list[int] = []
    async for window in lease.windows("posts", since=minute(first), until=minute(last)):
        items = list(range(first, last) if ids is None else ids)
        halves = [items[: len(items) // 2 + 1], items[len(items) // 2 + 1 :]]
        async for page in window.pages(
            lambda c, halves=halves: (halves[c or 0], 1 if not c else None)
        ):
            async with page.commit() as tx:
                fresh = await tx.fresh(page.items, key=lambda item: item)
                for item in fresh:
                    await tx.execute(f"INSERT INTO effect VALUES ({item})")
                found += fresh
            if stop:
                return found
    return found


async def effects(site: Site) -> list[int]:
    return sorted(row[0] for row in await site.query("SELECT id FROM effect"))


async def covered(store: Any, key: Any = POSTS) -> list[tuple[float, float]]:
    spans = await store.coverage(key)
    return [
        ((s.start - minute(0)) / timedelta(minutes=1), (s.end - minute(0)) / timedelta(minutes=1))
        for s in spans
    ]


async def standing(store: Any, key: Any = POSTS) -> tuple[Any, ...]:
    loaded = await store.load(key)
    seen = await store.seen(key, range(200))
    return loaded.items, loaded.state, sorted(seen), await covered(store, key)


async def damage(site: Site, stream: str = "note") -> None:
    blob = "x'00'" if not site.url.startswith("postgresql") else "'\\x00'"
    await site.query(f"UPDATE belaypin_checkpoint SET state = {blob} WHERE stream = '{stream}'")


async def actions(store: Any) -> list[str]:
    return [entry.action for entry in await store.audit()]


# --- history --------------------------------------------------------------------------------------


async def test_what_a_save_replaces_is_kept_the_newest_of_it(site: Site) -> None:
    store = await opened(site, history=3)
    for number in range(1, 40):
        assert await store.save(NOTE, {"n": number}) == number
    found = await store.history(NOTE, limit=100)
    assert [v.version for v in found[:4]] == [39, 38, 37, 36]
    assert len(found) <= 1 + 3 + 7
    assert (found[0].is_current, found[0].reason) == (True, "current")
    assert (found[1].is_current, found[1].reason, found[1].token) == (False, "replaced", None)
    assert found[0].is_readable
    assert found[0].size == found[1].size > 0
    assert [v.version for v in await store.history(NOTE, limit=2, before=38)] == [37, 36]
    assert (await store.load(NOTE, version=37)).state == {"n": 37}
    assert (await store.load(NOTE, version=39)).state == {"n": 39}
    assert await store.load(NOTE, version=2) is None
    assert await store.history(("shop", "nobody")) == []


async def test_history_can_be_turned_off(site: Site) -> None:
    store = await opened(site, history=0)
    for number in range(20):
        await store.save(NOTE, {"n": number})
    assert len(await store.history(NOTE)) == 1
    with pytest.raises(UsageError, match="history must be"):
        await opened(site, history=-1)


async def test_a_save_that_is_undone_keeps_nothing(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"n": 1})
    with pytest.raises(VersionConflict):
        await store.save(NOTE, {"n": 2}, expected_version=7)
    assert len(await store.history(NOTE)) == 1


class Counter:
    is_complete = False

    def __init__(self) -> None:
        self.items = 0

    def snapshot(self) -> Any:
        return {"items": self.items}

    def restore(self, state: Any) -> None:
        self.items = state["items"]


async def test_a_component_keeps_a_version_of_each_commit(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*ENTITY) as lease:
        counter = Counter()
        await lease.attach("total", counter)
        live = lease.live("posts", at=lambda _: minute(0))
        await live.__aenter__()
        for number in range(5):
            async with live.batch([number]).commit() as tx:
                counter.items += len(await tx.fresh([number], key=lambda item: item))
        token = lease.token
    found = await store.history((*ENTITY, "total"))
    assert [v.version for v in found] == [5, 4, 3, 2, 1]
    assert {v.token for v in found[1:]} == {token}
    for version in (1, 3):
        loaded = await store.load((*ENTITY, "total"), version=version)
        assert loaded.state == {"items": version}


async def test_an_upcast_keeps_both_shapes_of_a_version(site: Site) -> None:
    store = await opened(site)
    await store.save(("shop", "a", "note"), {"page": 3})
    schema = Schema(1, {0: lambda data: {"pages": data["page"]}})
    report = await store.upcast_states("shop", object, schema, stream="note", dry_run=False)
    assert report.upcast == 1
    found = await store.history(("shop", "a", "note"))
    assert [(v.version, v.schema_version, v.reason) for v in found] == [
        (1, 1, "current"),
        (1, 0, "upcast"),
    ]


async def test_differences_of_two_versions(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"page": 3, "a/b": [1, {"~": 2}], "gone": None})
    await store.save(NOTE, {"page": 4, "a/b": [1, {"~": 2.0}, 5]})
    await store.save(NOTE, {"page": 4})
    found = await store.diff(NOTE, 1, 2)
    assert [(d.path, d.kind, d.before, d.after) for d in found] == [
        ("/a~1b/1/~0", "changed", 2, 2.0),
        ("/a~1b/2", "added", None, 5),
        ("/gone", "removed", None, None),
        ("/page", "changed", 3, 4),
    ]
    assert [str(d) for d in await store.diff(NOTE, 2)] == ["- /a~1b: [1, {'~': 2.0}, 5]"]
    assert await store.diff(NOTE, 3, 3) == []
    with pytest.raises(UsageError, match="Version 7 .* is not kept"):
        await store.diff(NOTE, 7)
    with pytest.raises(UsageError, match="is not kept"):
        await store.diff(("shop", "nobody"), 1)
    await store.reset(NOTE)
    with pytest.raises(UsageError, match="no state"):
        await store.diff(NOTE, 1)


# --- repair ---------------------------------------------------------------------------------------


async def test_a_damaged_state_is_repaired_by_the_newest_that_can_be_read(site: Site) -> None:
    store = await opened(site)
    for number in range(3):
        await store.save(NOTE, {"n": number})
    assert await store.repair(NOTE) is None
    assert await store.repair(("shop", "nobody")) is None
    await damage(site)
    with pytest.raises(CorruptRecord):
        await store.load(NOTE)
    assert await store.repair(NOTE) == 2
    loaded = await store.load(NOTE)
    assert (loaded.state, loaded.version) == ({"n": 1}, 4)
    found = await store.history(NOTE)
    assert [(v.version, v.is_readable) for v in found] == [
        (4, True),
        (3, False),
        (2, True),
        (1, True),
    ]
    assert (found[1].reason, found[1].size) == ("repair", 1)
    (entry,) = await store.audit(NOTE)
    assert entry.detail == {"damaged": 3, "taken_from": 2, "version": 4}
    assert (await store.verify()).ok


async def test_a_repair_without_anything_readable_changes_nothing(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"n": 0})
    await damage(site)
    with pytest.raises(CorruptRecord, match="no older one that can be read"):
        await store.repair(NOTE)
    assert len(await store.history(NOTE)) == 1
    assert await actions(store) == []


async def test_a_repair_finds_what_a_savepoint_kept(site: Site) -> None:
    """The savepoint's copy is of the very version that was damaged."""
    store = await opened(site, history=0)
    await store.save(NOTE, {"n": 0})
    await store.savepoint(ENTITY, "before")
    await damage(site)
    assert await store.repair(NOTE) == 1
    assert (await store.load(NOTE)).state == {"n": 0}
    assert [v.is_readable for v in await store.history(NOTE)] == [True, True, False]


async def test_verify_names_what_is_damaged_or_left_in_history(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"n": 0})
    await store.save(NOTE, {"n": "x" * 20_000})
    await store.save(NOTE, {"n": 0})
    assert (await store.verify()).ok
    blob = "x'00'" if not site.url.startswith("postgresql") else "'\\x00'"
    await site.query(f"UPDATE belaypin_history SET state = {blob} WHERE version = 2")
    (finding,) = (await store.verify()).findings
    assert (finding.kind, finding.key, finding.where) == (
        "history-corrupt",
        Key(*NOTE),
        "version 2 in history",
    )
    await site.query("DELETE FROM belaypin_checkpoint")
    assert [f.kind for f in (await store.verify()).findings] == ["orphan-history"]


# --- back to a version ----------------------------------------------------------------------------


async def test_back_to_a_version_is_a_new_version(site: Site) -> None:
    store = await opened(site)
    for number in range(1, 4):
        await store.save(NOTE, {"n": number})
    planned = await store.rewind(NOTE, to=1, dry_run=True)
    assert (await store.load(NOTE)).version == 3
    done = await store.rewind(NOTE, to=1)
    assert [s.version for s in done.streams] == [s.version for s in planned.streams] == [4]
    loaded = await store.load(NOTE)
    assert (loaded.state, loaded.version) == ({"n": 1}, 4)
    assert [v.version for v in await store.history(NOTE)] == [4, 3, 2, 1]
    with pytest.raises(VersionConflict):
        await store.save(NOTE, {"n": 9}, expected_version=3)
    assert (await store.rewind(NOTE, to=4)).streams == ()
    with pytest.raises(UsageError, match="Version 9"):
        await store.rewind(NOTE, to=9)
    assert await actions(store) == ["rewind"]


async def test_a_ledger_goes_back_by_savepoints_only(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 3)
    with pytest.raises(UsageError, match="has a ledger"):
        await store.rewind(POSTS, to=0)
    with pytest.raises(UsageError, match="nothing at"):
        await store.rewind(("shop", "nobody"), to=1)


# --- savepoints and rewinds -----------------------------------------------------------------------


async def test_a_rewind_takes_back_all_but_the_users_rows(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"n": 1})
    await mine(store, 0, 10)
    stood = await standing(store)
    made = await store.savepoint(ENTITY, "before", note="version 2 goes live")
    assert (made.is_whole, made.entities, made.note) == (True, 1, "version 2 goes live")
    await mine(store, 10, 20)
    await mine(store, 30, 40, role="backfill")
    await store.save(NOTE, {"n": 2})
    await store.save((*ENTITY, "later"), {"n": 3})
    done = await store.rewind(ENTITY, to="before")
    assert await standing(store) == stood
    assert (await store.load(NOTE)).state == {"n": 1}
    assert (await store.load((*ENTITY, "later"))).state is None
    assert len(await effects(site)) == 30
    assert done.items_forgotten == 20
    (posts,) = [s for s in done.streams if s.key == Key(*POSTS)]
    assert (posts.items_before, posts.items_after, posts.generation) == (30, 10, 2)
    assert [span.start for span in posts.taken_back] == [minute(10), minute(30)]
    assert "Rows in your own tables were not touched" in str(done)
    assert await mine(store, 0, 20) == list(range(10, 20))  # handed out again
    assert len(await effects(site)) == 40
    assert await actions(store) == ["rewind", "savepoint"]
    assert (await store.verify()).ok


async def test_segments_do_not_merge_across_a_savepoint(site: Site) -> None:
    with patch.object(ledger, "FAN_OUT", 3):
        store = await opened(site)
        for first in range(0, 10, 2):
            await mine(store, first, first + 2)
        stood = await standing(store)
        await store.savepoint(ENTITY, "before")
        for first in range(10, 40, 2):
            await mine(store, first, first + 2)
        levels = await site.query("SELECT MAX(level), MIN(level) FROM belaypin_segment")
        assert levels[0][0] > 0  # some did merge
        await store.rewind(ENTITY, to="before")
        assert await standing(store) == stood
        await store.drop_savepoint(ENTITY, "before")
        assert await site.query("SELECT MAX(barrier_seq) FROM belaypin_checkpoint") == [(0,)]
        await mine(store, 10, 20)
        assert (await store.verify()).ok


async def test_back_and_forth_between_savepoints(site: Site) -> None:
    """A savepoint also remembers what a rewind has left behind."""
    store = await opened(site)
    stood = {}
    for number, name in enumerate(["one", "two", "three"]):
        await mine(store, number * 10, number * 10 + 5)
        await store.save(NOTE, {"n": number})
        await store.savepoint(ENTITY, name)
        stood[name] = await standing(store), (await store.load(NOTE)).state
    await store.rewind(ENTITY, to="one")
    await mine(store, 100, 105)
    await store.savepoint(ENTITY, "other")
    stood["other"] = await standing(store), (await store.load(NOTE)).state
    for name in ("three", "one", "other", "two", "other", "three"):
        await store.rewind(ENTITY, to=name)
        assert (await standing(store), (await store.load(NOTE)).state) == stood[name]
        assert (await store.verify()).ok


async def test_an_open_window_goes_on_at_the_cursor_that_it_had(site: Site) -> None:
    store = await opened(site)
    assert await mine(store, 0, 10, stop=True) == list(range(6))
    await store.savepoint(ENTITY, "half-way")
    assert await mine(store, 0, 10) == list(range(6, 10))
    await store.rewind(ENTITY, to="half-way")
    assert await covered(store) == []
    assert await mine(store, 0, 10) == list(range(6, 10))
    assert await covered(store) == [(0, 10)]


async def test_a_content_hash_goes_back(site: Site) -> None:
    store = await opened(site)

    async def changes(content: Any) -> bool:
        async with (
            store.lease(*ENTITY) as lease,
            lease.changed("profile", content) as change,
        ):
            if change:
                await change.tx.execute("SELECT 1")
            return bool(change)

    assert await changes("first")
    await store.savepoint(ENTITY, "first")
    assert await changes("second")
    await store.rewind(ENTITY, to="first")
    assert not await changes("first")
    assert await changes("second")
    await store.reset((*ENTITY, "profile"))
    assert await changes("second")
    assert (await store.verify()).ok


async def test_a_state_goes_back_to_its_older_schema(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"page": 3})
    await store.savepoint(ENTITY, "old code")
    schema = Schema(1, {0: lambda data: {"pages": data["page"]}})
    await store.upcast_states("shop", object, schema, stream="note", dry_run=False)
    await store.rewind(ENTITY, to="old code")
    loaded = await store.load(NOTE)
    assert (loaded.state, loaded.schema_version, loaded.version) == ({"page": 3}, 0, 2)


async def test_a_savepoint_keeps_its_state_from_pruning(site: Site) -> None:
    store = await opened(site, history=1)
    await store.save(NOTE, {"n": 0})
    await store.savepoint(ENTITY, "first")
    for number in range(1, 30):
        await store.save(NOTE, {"n": number})
    await store.rewind(ENTITY, to="first")
    assert (await store.load(NOTE)).state == {"n": 0}
    await store.drop_savepoint(ENTITY, "first")
    for number in range(1, 30):
        await store.save(NOTE, {"n": number})
    assert await store.load(NOTE, version=1) is None


async def test_a_state_that_a_savepoint_lost_is_not_taken_for_none(site: Site) -> None:
    store = await opened(site)
    await store.save(NOTE, {"n": 0})
    await store.savepoint(ENTITY, "first")
    await store.save(NOTE, {"n": 1})
    await site.query("DELETE FROM belaypin_history")
    with pytest.raises(CorruptRecord, match="gone from belaypin_history"):
        await store.rewind(ENTITY, to="first")
    assert (await store.load(NOTE)).state == {"n": 1}


async def test_names_of_savepoints(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 2)
    await store.savepoint(ENTITY, "one")
    await store.savepoint("shop", "all")
    with pytest.raises(UsageError, match="already"):
        await store.savepoint(ENTITY, "one")
    for wrong in ("", 7, "x" * 600, "\0"):
        with pytest.raises(UsageError, match="name"):
            await store.savepoint(ENTITY, wrong)
    with pytest.raises(UsageError, match="is a stream"):
        await store.savepoint(POSTS, "one")
    with pytest.raises(UsageError, match="no savepoint 'two'"):
        await store.rewind(ENTITY, to="two")
    with pytest.raises(UsageError, match="nothing to drop"):
        await store.drop_savepoint(ENTITY, "two")
    assert [s.name for s in await store.savepoints()] == ["all", "one"]
    assert [s.name for s in await store.savepoints(ENTITY)] == ["one"]
    await mine(store, 2, 4)
    await store.rewind(POSTS, to="all")  # one stream, to the savepoint of its pipeline
    assert await covered(store) == [(0, 2)]
    await store.drop_savepoint("shop", "all")
    await store.drop_savepoint(ENTITY, "one")
    assert await store.savepoints() == []
    assert await site.query("SELECT * FROM belaypin_savepoint_key") == []
    assert await site.query("SELECT * FROM belaypin_savepoint_span") == []


# --- beside workers -------------------------------------------------------------------------------


async def test_a_live_worker_is_waited_for_or_fenced(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 5)
    await store.savepoint(ENTITY, "before")
    async with store.lease(*ENTITY) as lease:
        await mine_under(lease, 5, 8)
        with pytest.raises(LeaseHeld, match="force=True"):
            await store.rewind(ENTITY, to="before")
        with pytest.raises(LeaseHeld, match="force=True"):
            await store.rewind(POSTS, to="before")
        with pytest.raises(LeaseHeld, match="force=True"):
            await store.reset("shop")
        with pytest.raises(LeaseHeld, match="force=True"):
            await store.reopen(POSTS, minute(0), minute(2), dry_run=True)
        token = lease.token
        stood = await standing(store)
        await store.rewind(ENTITY, to="before", force=True)
        with pytest.raises(Fenced):
            await mine_under(lease, 20, 25)
        with pytest.raises(Fenced):
            async with lease.changed("profile", 1) as change:
                await change.tx.execute("SELECT 1")
    assert stood != await standing(store)
    async with store.lease(*ENTITY) as lease:
        newer = lease.token
        assert newer > token  # I6
        assert await mine_under(lease, 5, 8) == [5, 6, 7]


async def test_a_lease_whose_time_is_up_keeps_nobody_out(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    await mine(store, -9, -5)
    lease = store.lease(*ENTITY, ttl_s=3000)
    await lease.acquire()
    assert await mine_under(lease, -20, -15)
    clock.advance(4000)
    await store.reset(ENTITY)
    with pytest.raises(Fenced):
        await mine_under(lease, -20, -15)
    await lease.release()


async def test_no_memory_outlives_a_reset(site: Site) -> None:
    """A positive cache entry after a reset would skip the item for ever."""
    store = await opened(site)
    lease = store.lease(*ENTITY)
    await lease.acquire()
    assert await mine_under(lease, 0, 5) == [0, 1, 2, 3, 4]
    assert await mine_under(lease, 10, 11, [0, 1]) == []
    await lease.release()
    await store.reset(ENTITY)
    await lease.acquire()  # the same object, with all that it remembers
    assert await mine_under(lease, 0, 5) == [0, 1, 2, 3, 4]
    await lease.release()
    assert await store.seen(POSTS, [3, 77]) == {3}
    await store.reset(POSTS)
    assert await store.seen(POSTS, [3, 77]) == set()


async def test_a_component_goes_on_from_where_it_was_taken_back(site: Site) -> None:
    store = await opened(site)

    async def count(items: list[int]) -> int:
        counter = Counter()
        async with store.lease(*ENTITY) as lease:
            await lease.attach("total", counter)
            async with (
                lease.live("posts", at=lambda _: minute(0)) as live,
                live.batch(items).commit() as tx,
            ):
                counter.items += len(await tx.fresh(items, key=lambda item: item))
        return counter.items

    assert await count([1, 2, 3]) == 3
    await store.savepoint(ENTITY, "three")
    assert await count([4, 5]) == 5
    await store.rewind(ENTITY, to="three")
    assert await count([3, 4]) == 4


@pytest.mark.parametrize("database", ["file", "postgres"])
@pytest.mark.parametrize("colour", ["sync"])
async def test_savepoints_and_forks_are_one_moment_of_a_worker_in_full_swing(site: Site) -> None:
    """What moves together (ledger, component, state of the content) is kept together."""
    stop = threading.Event()

    def work() -> None:
        with belaypin.open(site.url) as store, store.lease(*ENTITY) as lease:
            counter = lease.attach("total", Counter())
            with lease.live("posts", at=lambda _: minute(0)) as live:
                while not stop.is_set():
                    with live.batch([counter.items]).commit() as tx:
                        counter.items += len(tx.fresh([counter.items], key=lambda item: item))

    def total(store: belaypin.Store, entity: str) -> tuple[int, int]:
        items, state = store.load(("shop", entity, "posts")), store.load(("shop", entity, "total"))
        return (items.items, state.state["items"]) if items and state and state.state else (0, 0)

    with belaypin.open(site.url) as store:
        worker = threading.Thread(target=work)
        worker.start()
        try:
            while total(store, "user:7")[0] < 3:
                assert worker.is_alive()
            for number in range(4):
                store.savepoint("shop" if number % 2 else ENTITY, f"{number}")
                store.fork(ENTITY, ("shop", f"copy {number}"))
        finally:
            stop.set()
            worker.join()
        counts = []
        for number in range(4):
            items, counted = total(store, f"copy {number}")
            assert items == counted > 0
            store.rewind(ENTITY, to=f"{number}")
            items, counted = total(store, "user:7")
            assert items == counted == len(store.seen(POSTS, range(10_000)))
            counts.append(items)
        assert counts == sorted(counts)
        assert store.verify().ok


# --- reset and reopen -----------------------------------------------------------------------------


async def test_a_reset_forgets_and_what_it_left_can_be_had_again(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 5)
    await mine(store, 0, 5, entity="user:8")
    await store.save("shop", {"n": 1})
    await store.savepoint("shop", "before")
    done = await store.reset("shop")
    assert (done.entities, done.items_forgotten) == (2, 10)
    assert (await store.load("shop")).state is None
    assert await standing(store) == (0, None, [], [])
    assert (await store.reset("shop")).streams == ()
    await store.rewind("shop", to="before")
    assert (await store.load("shop")).state == {"n": 1}
    assert await standing(store) == (5, None, [0, 1, 2, 3, 4], [(0, 5)])
    assert (await store.verify()).ok


async def test_reopened_time_is_fetched_again_and_nothing_is_doubled(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 10)
    planned = await store.reopen(POSTS, minute(3), minute(5), dry_run=True)
    assert await covered(store) == [(0, 10)]
    done = await store.reopen(POSTS, minute(3), minute(5))
    assert done.streams == planned.streams
    assert await covered(store) == [(0, 3), (5, 10)]
    assert [gap.start for gap in await store.gaps(POSTS)] == [minute(3)]
    assert await mine(store, 0, 10, [3, 4, 44]) == [44]
    assert await covered(store) == [(0, 10)]
    assert (await store.reopen("shop", minute(20), minute(25))).streams == ()
    with pytest.raises(UsageError, match="before until"):
        await store.reopen(POSTS, minute(5), minute(5))


async def test_an_open_window_over_reopened_time_begins_again(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 10, stop=True)
    await store.reopen(POSTS, minute(1), minute(2))
    async with store.lease(*ENTITY) as lease:
        windows = lease.windows("posts", since=minute(0), until=minute(10))
        assert [window.cursor async for window in windows] == [None]


# --- whole pipelines, interrupted -----------------------------------------------------------------


class Killed(Exception):
    """Stands for SIGKILL between two transactions; see tests/crash/test_travel.py for the real one."""


def killed_at(module: Any, name: str, entity: str) -> Any:
    real = getattr(module, name)

    def program(*args: Any, **options: Any) -> Any:
        if any(entity == getattr(arg, "entity", arg) for arg in args):
            raise Killed
        return real(*args, **options)

    return patch.object(module, name, program)


async def three(store: Any) -> dict[str, Any]:
    for entity in ("a", "b", "c"):
        await mine(store, 0, 5, entity=entity)
    return {e: await standing(store, ("shop", e, "posts")) for e in ("a", "b", "c")}


async def test_an_interrupted_savepoint_is_not_whole_until_it_is_finished(site: Site) -> None:
    store = await opened(site)
    stood = await three(store)
    with killed_at(savepoints, "save_entity", "c"), pytest.raises(Killed):
        await store.savepoint("shop", "all")
    (half,) = await store.savepoints()
    assert (half.is_whole, half.entities) == (False, 2)
    with pytest.raises(UsageError, match="interrupted after 2 entities"):
        await store.rewind("shop", to="all")
    with pytest.raises(UsageError, match="interrupted after 2 entities"):
        await store.rewind(("shop", "a"), to="all")
    done = await store.savepoint("shop", "all")
    assert (done.is_whole, done.entities) == (True, 3)
    for entity in ("a", "b", "c"):
        await mine(store, 5, 9, entity=entity)
    await mine(store, 0, 5, entity="d")
    with killed_at(rewinding, "rewind", "c"), pytest.raises(Killed):
        await store.rewind("shop", to="all")
    rewound = await store.rewind("shop", to="all")
    assert {s.key.entity for s in rewound.streams} == {"c", "d"}  # the others stood there already
    for entity in ("a", "b", "c"):
        assert await standing(store, ("shop", entity, "posts")) == stood[entity]
    assert await standing(store, ("shop", "d", "posts")) == (0, None, [], [])
    with killed_at(savepoints, "drop_entity", "b"), pytest.raises(Killed):
        await store.drop_savepoint("shop", "all")
    with pytest.raises(UsageError, match="no savepoint"):
        await store.rewind("shop", to="all")
    with pytest.raises(UsageError, match="is being dropped"):
        await store.savepoint("shop", "all")
    await store.drop_savepoint("shop", "all")
    assert await site.query("SELECT * FROM belaypin_savepoint_span") == []
    assert (await store.verify()).ok


async def test_a_fork_is_independent_and_goes_on_where_it_was_interrupted(site: Site) -> None:
    store = await opened(site)
    stood = await three(store)
    for number in range(3):
        await store.save(("shop", "a", "note"), {"n": number})
    with killed_at(forking, "copy_next", "b"), pytest.raises(Killed):
        await store.fork("shop", "copy")
    with pytest.raises(UsageError, match="half-done fork of shop"):
        await store.fork("other", "copy")
    forked = await store.fork("shop", "copy")
    assert (forked.entities, forked.items) == (2, 10)  # by this call
    for entity in ("a", "b", "c"):
        assert await standing(store, ("copy", entity, "posts")) == stood[entity]
    assert len(await store.history(("copy", "a", "note"))) == 3
    assert await site.query(
        "SELECT COUNT(*) FROM belaypin_lease AS l JOIN belaypin_checkpoint AS c"
        " ON c.key_id = l.key_id WHERE c.pipeline = 'copy'"
    ) == [(0,)]
    with pytest.raises(UsageError, match="something at copy already"):
        await store.fork("shop", "copy")
    await store.reset("shop")
    assert await standing(store, ("copy", "a", "posts")) == stood["a"]
    async with store.lease("copy", "a") as lease:
        assert await mine_under(lease, 0, 7) == [5, 6]
    assert await standing(store, ("shop", "a", "posts")) == (0, None, [], [])
    assert (await store.verify()).ok


async def test_what_is_refused_of_a_fork(site: Site) -> None:
    store = await opened(site)
    await mine(store, 0, 5)
    await store.savepoint(ENTITY, "mine")
    await store.fork(ENTITY, ("shop", "copy"))
    assert await store.savepoints(("shop", "copy")) == []
    for wrong in (("shop", "copy"), ENTITY, "shop", "other", POSTS):
        with pytest.raises(UsageError):
            await store.fork(ENTITY, wrong)
    with pytest.raises(UsageError, match="nothing to fork"):
        await store.fork(("shop", "nobody"), ("shop", "new"))
    assert [(e.action, e.key) for e in await store.audit()][:2] == [
        ("fork", Key("shop", "copy")),
        ("fork", Key(*ENTITY)),
    ]
