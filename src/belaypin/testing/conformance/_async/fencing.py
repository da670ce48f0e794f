"""Fencing: whoever lost a lease writes nothing, whatever it tries, and is told so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from belaypin._async.lease import AsyncLease
from belaypin._async.live import AsyncLive
from belaypin._async.window import AsyncPage
from belaypin.errors import Fenced, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, effects, hear, mine, opened, write
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import refused
from belaypin.testing.conformance.source import Source, event, events, minute


class Stale(NamedTuple):
    """A worker in the midst of its work, whose lease another one holds by now."""

    place: AsyncPlace
    lease: AsyncLease
    live: AsyncLive
    page: AsyncPage
    last_page: AsyncPage


async def _commit_page(stale: Stale) -> None:
    async with stale.page.commit() as tx:
        await write(stale.place, tx, await tx.fresh(stale.page.items, key="id"))


async def _commit_statement(stale: Stale) -> None:
    async with stale.page.commit() as tx:
        await tx.execute("INSERT INTO effect (id) VALUES ('stale')")


async def _commit_rows(stale: Stale) -> None:
    async with stale.page.commit() as tx:
        await tx.copy("effect", ["id"], [("stale",)])


async def _commit_known(stale: Stale) -> None:
    async with stale.last_page.commit() as tx:
        await tx.fresh([], key="id")


async def _change(stale: Stale) -> None:
    async with stale.lease.changed("profile", {"name": "stale"}) as change:
        await change.tx.execute("INSERT INTO effect (id) VALUES ('stale')")


async def _change_of_a_new_stream(stale: Stale) -> None:
    async with stale.lease.changed("other profile", {"name": "stale"}):
        pass


async def _hear(stale: Stale) -> None:
    await hear(stale.place, stale.live, event("stale"))


async def _beat(stale: Stale) -> None:
    await stale.live.heartbeat()


async def _listen(stale: Stale) -> None:
    async with stale.lease.live("events", at="at"):
        pass


async def _listen_to_a_new_stream(stale: Stale) -> None:
    async with stale.lease.live("other events", at="at"):
        pass


async def _mine_a_new_stream(stale: Stale) -> None:
    source = Source(events(2))
    await mine(stale.place, stale.lease, source, "other posts", since="beginning")


WRITES: list[Callable[[Stale], Awaitable[None]]] = [
    _commit_page,
    _commit_statement,
    _commit_rows,
    _commit_known,
    _change,
    _change_of_a_new_stream,
    _hear,
    _beat,
    _listen,
    _listen_to_a_new_stream,
    _mine_a_new_stream,
]


async def _page(lease: AsyncLease, stream: str, source: Source) -> AsyncPage:
    async for window in lease.windows(stream, since=minute(0)):
        async for page in window.pages(source.within(window)):
            return page
    raise AssertionError("there was no page")


async def _stale(place: AsyncPlace, lease: AsyncLease) -> Stale:
    live = lease.live("events", at="at")
    await live.__aenter__()
    async with lease.changed("profile", {"name": "first"}):
        pass
    page = await _page(lease, KEY[2], Source(events(9)))
    return Stale(place, lease, live, page, await _page(lease, "empty", Source([])))


async def _each_write(place: AsyncPlace, lose: Callable[..., Awaitable[Any]]) -> None:
    clock = FakeClock(minute(60))
    store, other = await opened(place, clock=clock), await place.open(clock=clock)
    lease = store.lease(*KEY[:2], ttl_s=30)
    await lease.acquire()
    stale = await _stale(place, lease)
    await lose(clock, other.lease(*KEY[:2], ttl_s=30))
    for write_stale in WRITES:
        with refused(place, Fenced):
            await write_stale(stale)
    assert effects(place) == []


async def check_a_stale_write_changes_nothing(place: AsyncPlace) -> None:
    async def lose(clock: FakeClock, other: AsyncLease) -> None:
        clock.advance("31s")
        await other.acquire()

    await _each_write(place, lose)


async def check_a_stale_write_changes_nothing_after_the_successor_is_gone(
    place: AsyncPlace,
) -> None:
    async def lose(clock: FakeClock, other: AsyncLease) -> None:
        clock.advance("31s")
        await other.acquire()
        await other.release()

    await _each_write(place, lose)


async def check_a_stale_write_changes_nothing_after_the_clock_was_set_back(
    place: AsyncPlace,
) -> None:
    async def lose(clock: FakeClock, other: AsyncLease) -> None:
        clock.set(clock.now.replace(year=clock.now.year - 10))
        await other.acquire()

    await _each_write(place, lose)


async def check_the_successor_goes_on_from_the_last_commit(place: AsyncPlace) -> None:
    clock, source = FakeClock(minute(60)), Source(events(9))
    store, other = await opened(place, clock=clock), await place.open(clock=clock)
    stale = store.lease(*KEY[:2], ttl_s=30)
    await stale.acquire()
    async for window in stale.windows(KEY[2], since=minute(0)):
        async for page in window.pages(source.within(window)):
            if page.items[0]["id"] == 3:
                clock.advance("31s")
                async with other.lease(*KEY[:2]) as lease:
                    with refused(place, Fenced):
                        async with page.commit() as tx:
                            await write(place, tx, await tx.fresh(page.items, key="id"))
                    assert await mine(place, lease, source) == [3, 4, 5, 6, 7, 8]
                break
            async with page.commit() as tx:
                await write(place, tx, await tx.fresh(page.items, key="id"))
    assert effects(place) == [str(number) for number in range(9)]


async def check_a_broken_lease_fences_its_holder_at_once(place: AsyncPlace) -> None:
    store = await opened(place)
    lease = store.lease(*KEY[:2])
    await lease.acquire()
    held = lease.token
    broken = await store.break_lease(KEY[:2], reason="it hangs")
    assert broken > held
    with refused(place, Fenced, str(broken)):
        await mine(place, lease, Source(events(3)))
    (row,) = await store.leases()
    assert (row.state, row.owner, row.token) == ("expired", "nobody", broken)
    (entry,) = await store.audit()
    assert (entry.action, entry.key, entry.detail["reason"]) == ("break-lease", row.key, "it hangs")
    assert entry.detail["token"] == [held, broken]
    async with store.lease(*KEY[:2]) as other:
        assert other.token > broken
        assert await mine(place, other, Source(events(3))) == [0, 1, 2]


async def check_only_a_held_lease_is_broken(place: AsyncPlace) -> None:
    store = await opened(place)
    with refused(place, UsageError, "nobody holds"):
        await store.break_lease(KEY[:2])
    async with store.lease(*KEY[:2]):
        with refused(place, UsageError, "role"):
            await store.break_lease(KEY[:2], role="live")
    with refused(place, UsageError):
        await store.break_lease(KEY[:2])
    for bad in (KEY, KEY[0]):
        with refused(place, UsageError, "entity"):
            await store.break_lease(bad)
