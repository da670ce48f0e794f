"""Components: their state moves with the commits of their lease, and with nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pydantic
import pytest

import belaypin
from belaypin import Fenced, Schema, SchemaTooNew, UsageError, VersionConflict
from tests.capabilities.sites import FixedClock, Site

KEY = ("shop", "user:7", "totals")
FILES = ["file", "postgres"]
PAGES = 4
PER_PAGE = 3


class Counter:
    """Counts, in whatever type of state it is given."""

    def __init__(self, state: Any = None) -> None:
        self.state = {"items": 0} if state is None else state
        self.is_complete = False
        self.snapshots = 0

    @property
    def items(self) -> int:
        items: int = self.state["items"]
        return items

    def add(self, items: list[Any]) -> None:
        self.state["items"] += len(items)

    def snapshot(self) -> Any:
        self.snapshots += 1
        return self.state

    def restore(self, state: Any) -> None:
        self.state = state


def fetch(cursor: Any) -> tuple[list[dict[str, int]], Any]:
    page = cursor or 0
    items = [{"id": page * PER_PAGE + n} for n in range(PER_PAGE)]
    return items, page + 1 if page + 1 < PAGES else None


async def opened(site: Site, **options: Any) -> Any:
    store = await site.open(**options)
    await store.execute("CREATE TABLE IF NOT EXISTS effect (id INTEGER)")
    return store


async def write(site: Site, tx: Any, items: list[Any]) -> None:
    mark = "%s" if site.url.startswith("postgresql") else "?"
    for item in items:
        await tx.execute(f"INSERT INTO effect VALUES ({mark})", (item["id"],))


async def mine(site: Site, lease: Any, counter: Counter, *, fail_at: int | None = None) -> None:
    """All pages of the stream; ``fail_at``: the commit of this page raises, after it has counted."""
    async for window in lease.windows("posts", since="1d", overlap="1h"):
        number = window.cursor or 0
        async for page in window.pages(fetch):
            async with page.commit() as tx:
                fresh = await tx.fresh(page.items, key="id")
                await write(site, tx, fresh)
                counter.add(fresh)
                if number == fail_at:
                    raise ZeroDivisionError
            number += 1


async def undone(lease: Any, counter: Counter, state: Any) -> None:
    """A commit in which the component took this state, and that was undone."""
    try:
        async with lease.changed("profile", "that is undone"):
            counter.state = state
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


async def stored(site: Site) -> dict[str, Any] | None:
    """The state as it stands in the database, decoded by other code."""
    rows = await site.query(
        "SELECT state FROM belaypin_checkpoint WHERE stream = 'totals' AND state IS NOT NULL"
    )
    return msgspec.json.decode(bytes(rows[0][0])[20:]) if rows else None


async def effects(site: Site) -> int:
    count: int = (await site.query("SELECT count(*) FROM effect"))[0][0]
    return count


# --- saved and restored ---------------------------------------------------------------------------


async def test_a_component_counts_what_is_committed_however_often_it_fails(site: Site) -> None:
    store = await opened(site)
    for fail_at in (0, 2, 2, 3, None, None):
        counter = Counter()
        async with store.lease(*KEY[:2]) as lease:
            assert await lease.attach("totals", counter) is counter
            assert counter.items == await effects(site)
            try:
                await mine(site, lease, counter, fail_at=fail_at)
            except ZeroDivisionError:
                assert fail_at is not None
            assert counter.items == await effects(site)  # put back where the last commit was
        found = await stored(site)
        assert (found["items"] if found else 0) == await effects(site)
    assert await effects(site) == PAGES * PER_PAGE


async def test_a_page_may_be_tried_again_in_the_same_lease(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        async for window in lease.windows("posts", since="1d"):
            async for page in window.pages(fetch):
                for attempt in range(2):
                    try:
                        async with page.commit() as tx:
                            fresh = await tx.fresh(page.items, key="id")
                            await write(site, tx, fresh)
                            counter.add(fresh)
                            assert attempt
                    except AssertionError:
                        pass
    assert counter.items == await effects(site) == PAGES * PER_PAGE
    assert await stored(site) == {"items": PAGES * PER_PAGE}


async def test_it_is_saved_only_when_it_has_changed(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        await mine(site, lease, counter)
        assert (await store.load(KEY)).version == PAGES
        async with lease.live("posts", at="at") as live:
            await live.heartbeat()
            await live.heartbeat()
        assert counter.snapshots > PAGES + 2
    assert (await store.load(KEY)).version == PAGES


async def test_a_page_without_fresh_items_saves_it_if_it_has_changed(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        await mine(site, lease, Counter())
        counter = await lease.attach("totals", Counter())
        async for window in lease.windows("posts", since="1d", overlap="1h"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    assert await tx.fresh(page.items, key="id") == []
                    counter.add(page.items)
                assert await stored(site) == counter.state
    assert counter.items == PAGES * PER_PAGE


async def test_live_batches_and_changed_content_save_it_too(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        live = lease.live("posts", at=lambda item: "2024-01-01T00:00:00Z")
        async with live, live.batch([{"id": 1}]).commit() as tx:
            counter.add(await tx.fresh([{"id": 1}], key="id"))
        assert await stored(site) == {"items": 1}
        async with lease.changed("profile", {"name": "x"}) as change:
            assert change
            counter.add([1])
        assert await stored(site) == {"items": 2}
        await undone(lease, counter, {"items": 7})
        assert counter.items == 2
        assert await stored(site) == {"items": 2}


async def test_what_is_saved_is_the_moment_of_the_commit(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        await mine(site, lease, counter)
        counter.add([1])  # after the last commit: nobody has committed that
    assert await stored(site) == {"items": PAGES * PER_PAGE}


# --- typed states ---------------------------------------------------------------------------------


@dataclass
class Plain:
    items: int = 0
    tags: set[str] = field(default_factory=set)


class Packed(msgspec.Struct):
    items: int = 0
    took: timedelta = timedelta(0)


class Model(pydantic.BaseModel):
    items: int = 0
    took: timedelta = timedelta(0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"items": 0}, {"items": 1}),
        (Plain(), Plain(1, {"a", "b"})),
        (Packed(), Packed(1, timedelta(seconds=2))),
        (Model(), Model(items=1, took=timedelta(seconds=2))),
    ],
)
async def test_its_state_has_a_type(site: Site, first: Any, second: Any) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter(first), type=type(first))
        async with lease.changed("profile", 1):
            counter.state = second
        await undone(lease, counter, first)
        assert counter.state == second
    async with store.lease(*KEY[:2]) as lease:
        other = await lease.attach("totals", Counter(first), type=type(first))
        assert other.state == second
        assert type(other.state) is type(first)


# --- completion -----------------------------------------------------------------------------------


async def test_completion_and_duration_are_on_its_checkpoint(site: Site) -> None:
    clock = FixedClock()
    store = await opened(site, clock=clock)
    async with store.lease(*KEY[:2], ttl_s=3600) as lease:
        counter = await lease.attach("totals", Counter())
        clock.advance(60)
        async with lease.changed("profile", 1):
            counter.add([1])
        found = await store.load(KEY)
        assert (found.is_complete, found.status) == (False, "open")
        assert found.processing_duration == timedelta(seconds=60)
        clock.advance(60)
        async with lease.changed("profile", 2):
            counter.is_complete = True  # its state is the same: it is saved all the same
        for n in range(2):
            clock.advance(60)
            async with lease.changed("profile", n):
                counter.add([1])
        found = await store.load(KEY)
        assert (found.is_complete, found.status) == (True, "complete")
        assert found.processing_duration == timedelta(seconds=120)
        async with lease.changed("profile", 9):
            counter.is_complete = False
        assert not (await store.load(KEY)).is_complete


# --- fences and conflicts -------------------------------------------------------------------------


async def test_a_worker_that_was_replaced_saves_nothing(site: Site) -> None:
    clock = FixedClock()
    store, other = await opened(site, clock=clock), await site.open(clock=clock)
    async with store.lease(*KEY[:2], ttl_s=30) as lease:
        counter = await lease.attach("totals", Counter())
        await mine(site, lease, counter)
        clock.advance(31)
        async with other.lease(*KEY[:2]) as successor:
            await successor.attach("totals", Counter())
            before = await site.dump()
            with pytest.raises(Fenced):
                async with lease.changed("profile", 1):
                    counter.add([1])
            with pytest.raises(Fenced):
                await lease.attach("a new name", Counter())
            assert await site.dump() == before


async def test_what_others_saved_at_its_key_is_not_overwritten(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        await store.save(KEY, {"items": 100})
        before = await site.dump()
        with pytest.raises(VersionConflict, match="shop / user:7 / totals has version 1, not 0"):
            await mine(site, lease, counter)
        assert (await site.dump(), await effects(site)) == (before, 0)
        assert counter.items == 0  # a commit that fails by itself undoes it, too
        again = await lease.attach("totals", Counter())
        assert again.items == 100
        await mine(site, lease, again)
    assert await stored(site) == {"items": 100 + PAGES * PER_PAGE}


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("keeps", [True, False])
async def test_a_joined_commit_is_the_users_to_keep(site: Site, keeps: bool) -> None:
    store = await opened(site)
    with site.user() as connection:
        async with store.lease(*KEY[:2]) as lease:
            counter = await lease.attach("totals", Counter())
            async for window in lease.windows("posts", since="1d"):
                async for page in window.pages(fetch):
                    async with page.commit(store.joined(connection)) as tx:
                        counter.add(await tx.fresh(page.items, key="id"))
                    break
            if keeps:
                connection.commit()
            else:
                connection.rollback()
    async with store.lease(*KEY[:2]) as lease:
        other = await lease.attach("totals", Counter())
        assert other.items == (PER_PAGE if keeps else 0)
        await mine(site, lease, other)
    assert await stored(site) == {"items": PAGES * PER_PAGE}


# --- schemas --------------------------------------------------------------------------------------

V1 = Schema(1)
V2 = Schema(2, {1: lambda data: {"items": data["count"]}})


async def test_an_older_state_is_upcast_and_stored_by_the_next_commit(site: Site) -> None:
    store = await opened(site)
    await store.save(KEY, {"count": 5}, schema=V1)
    before = await site.query("SELECT state FROM belaypin_checkpoint")
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter(), schema=V2)
        assert counter.items == 5
        assert (await store.load(KEY, schema=V2)).schema_version == 1
        async with lease.changed("profile", 1):
            pass  # it has not moved, but it stands there in the old shape
    found = await store.load(KEY, schema=V2)
    assert (found.state, found.schema_version, found.version) == ({"items": 5}, 2, 2)
    assert await site.query("SELECT state FROM belaypin_original") == before


async def test_old_workers_stop_where_new_ones_have_been(site: Site) -> None:
    store = await opened(site)
    await store.save(KEY, {"items": 5}, schema=V1)
    async with store.lease(*KEY[:2], role="old") as lease:
        counter = await lease.attach("totals", Counter(), schema=V1)
        newer = Schema(2, {1: dict})
        await store.upcast_states("shop", dict, newer, stream="totals", dry_run=False)
        before = await site.dump()
        with pytest.raises(SchemaTooNew, match="totals has schema version 2, .* up to 1"):
            await mine(site, lease, counter)
        assert (await site.dump(), await effects(site)) == (before, 0)
        with pytest.raises(SchemaTooNew, match="totals"):
            await lease.attach("totals", Counter(), schema=V1)


async def test_bulk_does_not_stop_a_new_worker_that_is_at_it(site: Site) -> None:
    store = await opened(site)
    await store.save(KEY, {"count": 5}, schema=V1)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter(), schema=V2)
        report = await store.upcast_states("shop", dict, V2, stream="totals", dry_run=False)
        assert report.upcast == 1
        await mine(site, lease, counter)
    assert await stored(site) == {"items": 5 + PAGES * PER_PAGE}
    assert await site.query("SELECT schema_version, version FROM belaypin_original") == [(1, 1)]


# --- what is no component -------------------------------------------------------------------------


async def test_what_cannot_be_saved_is_said_and_undone(site: Site) -> None:
    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Counter())
        await mine(site, lease, counter)
        before = await site.dump()
        with pytest.raises(UsageError, match=r"shop / user:7 / totals can't be saved: state\["):
            async with lease.changed("profile", 1):
                counter.state = {"items": {1, 2}}
        assert await site.dump() == before
        assert counter.items == PAGES * PER_PAGE

        wrong: Any = Counter()
        wrong.is_complete = lambda: True
        for no_component in (object(), Counter, wrong):
            with pytest.raises(UsageError, match="totals"):
                await lease.attach("totals", no_component)
        with pytest.raises(UsageError, match="attached as 'totals'"):
            lease.changed("totals", {})
        with pytest.raises(UsageError):
            await lease.attach("", Counter())
    with pytest.raises(UsageError, match="not held"):
        await lease.attach("totals", Counter())


async def test_one_that_could_not_be_put_back_saves_nothing_more(site: Site) -> None:
    class Breaks(Counter):
        is_broken = False

        def restore(self, state: Any) -> None:
            if self.is_broken:
                raise OSError("no way back")
            super().restore(state)

    store = await opened(site)
    async with store.lease(*KEY[:2]) as lease:
        counter = await lease.attach("totals", Breaks())
        counter.is_broken = True
        with pytest.raises(ZeroDivisionError) as caught:
            await mine(site, lease, counter, fail_at=1)
        assert "no way back" in caught.value.__notes__[0]
        before = await site.dump()
        with pytest.raises(UsageError, match="could not be restored"):
            async with lease.changed("profile", 1):
                pass
        assert await site.dump() == before
    assert await stored(site) == {"items": PER_PAGE}


def test_the_protocol_types() -> None:
    component: belaypin.Checkpointable[Any] = Counter()
    assert isinstance(component, belaypin.Checkpointable)
