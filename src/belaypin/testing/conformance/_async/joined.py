"""Joined: what belaypin writes in the user's own transaction stands and falls with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from belaypin._async.store import AsyncStore
from belaypin.errors import UsageError, VersionConflict
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, commit_all, effects, mine, opened
from belaypin.testing.conformance._async.place import AsyncPlace, AsyncUser
from belaypin.testing.conformance.expect import noting, raises, refused, unchanged
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import Item, Source, event, events, minute, one_page


async def _users(place: AsyncPlace) -> AsyncIterator[tuple[str, AsyncUser]]:
    """A user of each kind, one after the other."""
    assert place.users, "this place has no users of its own"
    for name, connect in place.users.items():
        async with connect() as user:
            yield name, user


async def _insert(user: AsyncUser, items: Sequence[Item]) -> None:
    for item in items:
        await user.execute("INSERT INTO effect (id) VALUES (?)", [str(item["id"])])


@needs("joins")
async def check_commit_keeps_and_rollback_leaves_nothing(place: AsyncPlace) -> None:
    store = await opened(place)
    async for name, user in _users(place):
        with noting(name):
            key = ("shop", name)
            joined = store.joined(user.connection)
            with unchanged(place):
                await _insert(user, [event("undone")])
                assert await joined.save(key, {"a": 1}) == 1
                found = await joined.load(key)
                assert found is not None
                assert found.state == {"a": 1}
                await user.rollback()
            await _insert(user, [event(name)])
            assert await store.joined(user.connection).save(key, {"a": 2}) == 1
            await user.commit()
            kept = await store.load(key)
            assert kept is not None
            assert kept.state == {"a": 2}
    assert effects(place) == sorted(place.users)


@needs("joins")
async def check_a_page_is_part_of_the_users_transaction(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(6)])
            async with store.lease("shop", name) as lease:
                async for window in lease.windows("posts", since=minute(0)):
                    async for page in window.pages(source.within(window)):
                        async with page.commit(store.joined(user.connection)) as tx:
                            fresh = await tx.fresh(page.items, key="id")
                            await tx.execute("INSERT INTO effect (id) VALUES ('through tx')")
                        await _insert(user, fresh)
                        await user.commit()
            key = ("shop", name, "posts")
            assert await store.coverage(key) == [Interval(minute(0), minute(60))]
            assert len(await store.seen(key, [item["id"] for item in source.items])) == 6
            async with store.lease("shop", name) as lease:
                assert await mine(place, lease, source, overlap="1h") == []
    assert effects(place).count("through tx") == 2 * len(place.users)
    assert len(effects(place)) == 8 * len(place.users)


@needs("joins")
async def check_a_page_that_is_rolled_back_is_not_lost(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(9)])
            async with store.lease("shop", name) as lease:
                with raises(VersionConflict, "rolled back", "windows"):
                    await _roll_back_the_first(
                        store, lease.windows("posts", since=minute(0)), source, user
                    )
                assert not [i for i in effects(place) if i.startswith(name)]
                await mine(place, lease, source)
    assert len(effects(place)) == len({*effects(place)}) == 9 * len(place.users)


async def _roll_back_the_first(
    store: AsyncStore, windows: AsyncIterator[Any], source: Source, user: AsyncUser
) -> None:
    async for window in windows:
        async for page in window.pages(source.within(window)):
            try:
                async with page.commit(store.joined(user.connection)) as tx:
                    fresh = await tx.fresh(page.items, key="id")
                await _insert(user, fresh)
            finally:
                await user.rollback()


@needs("joins")
async def check_a_last_page_that_is_rolled_back_is_not_lost(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(2)])
            async with store.lease("shop", name) as lease:
                await _roll_back_the_first(
                    store, lease.windows("posts", since=minute(0)), source, user
                )
                assert await store.coverage(("shop", name, "posts")) == []
                assert len(await mine(place, lease, source)) == 2
    assert len(effects(place)) == 2 * len(place.users)


@needs("joins")
async def check_live_events_that_are_rolled_back_are_not_covered(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    async for name, user in _users(place):
        with noting(name):
            clock.set(minute(0))
            async with store.lease("shop", name) as lease:
                async with lease.live("posts", at="at") as live:
                    clock.advance("10m")
                    lost = live.batch([event("lost", 5)])
                    async with lost.commit(store.joined(user.connection)) as tx:
                        await tx.fresh(lost.items, key="id")
                    await user.rollback()
                    clock.advance("10m")
                    try:
                        await live.heartbeat()
                    except VersionConflict:
                        pass
                covered = await store.coverage(("shop", name, "posts"))
                assert not [span for span in covered if span.start <= minute(5) < span.end]


@needs("joins")
async def check_a_block_that_fails_undoes_only_itself(place: AsyncPlace) -> None:
    store = await opened(place)
    async for name, user in _users(place):
        with noting(name):
            await _insert(user, [event(name)])
            with raises(ZeroDivisionError):
                async with store.joined(user.connection) as joined:
                    await joined.save(("shop", name), "undone")
                    raise ZeroDivisionError
            with raises(VersionConflict):
                await store.joined(user.connection).save(
                    ("shop", name), "refused", expected_version=3
                )
            await store.joined(user.connection).save(("shop", name, "other"), "kept")
            await user.commit()
            assert await store.load(("shop", name, "other")) is not None
            found = await store.load(("shop", name))
            assert found is None or found.state is None
    assert effects(place) == sorted(place.users)


@needs("joins")
async def check_an_operation_is_part_of_the_users_transaction(place: AsyncPlace) -> None:
    store = await opened(place)
    async for name, user in _users(place):
        with noting(name):
            with unchanged(place):
                async with store.joined(user.connection).once(name) as op:
                    assert op
                    op.result = "undone"
                await user.rollback()
            async with store.joined(user.connection).once(name) as op:
                assert op
                await op.tx.execute("INSERT INTO effect (id) VALUES ('ran')")
                op.result = name
            await user.commit()
            async with store.once(name) as op:
                assert not op
                assert op.result == name
    assert effects(place) == ["ran"] * len(place.users)


@needs("joins")
async def check_reads_see_the_users_transaction(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since=minute(0)):
            await commit_all(place, window, one_page(events(3)))
    async for name, user in _users(place):
        with noting(name):
            joined = store.joined(user.connection)
            assert await joined.seen(KEY, range(5)) == {0, 1, 2}
            assert await joined.coverage(KEY) == [Interval(minute(0), minute(60))]
            assert await joined.gaps(KEY, until=minute(70)) == [Interval(minute(60), minute(70))]
            assert (await joined.lag(KEY)) is not None
            await user.rollback()


@needs("joins")
async def check_copy_has_its_own_way(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async for name, user in _users(place):
        with noting(name):
            lease = store.lease("shop", name)
            await lease.acquire()
            async for window in lease.windows("posts", since=minute(0)):
                async for page in window.pages(one_page(events(2))):
                    with raises(UsageError, "COPY"):
                        async with page.commit(store.joined(user.connection)) as tx:
                            await tx.copy("effect", ["id"], [("x",)])
                    break
            await user.rollback()
    assert effects(place) == []


@needs("joins")
async def check_what_is_no_connection_is_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    for thing in (None, "postgresql:///app", object(), store, 7):
        with refused(place, UsageError, "joined"):
            store.joined(thing)
