# Generated from src/belaypin/testing/conformance/_async/joined.py by tools/generate_sync.py; do not edit.
"""Joined: what belaypin writes in the user's own transaction stands and falls with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from belaypin._sync.store import Store
from belaypin.errors import UsageError, VersionConflict
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, commit_all, effects, mine, opened
from belaypin.testing.conformance._sync.place import Place, User
from belaypin.testing.conformance.expect import noting, raises, refused, unchanged
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import Item, Source, event, events, minute, one_page


def _users(place: Place) -> Iterator[tuple[str, User]]:
    """A user of each kind, one after the other."""
    assert place.users, "this place has no users of its own"
    for name, connect in place.users.items():
        with connect() as user:
            yield name, user


def _insert(user: User, items: Sequence[Item]) -> None:
    for item in items:
        user.execute("INSERT INTO effect (id) VALUES (?)", [str(item["id"])])


@needs("joins")
def check_commit_keeps_and_rollback_leaves_nothing(place: Place) -> None:
    store = opened(place)
    for name, user in _users(place):
        with noting(name):
            key = ("shop", name)
            joined = store.joined(user.connection)
            with unchanged(place):
                _insert(user, [event("undone")])
                assert joined.save(key, {"a": 1}) == 1
                found = joined.load(key)
                assert found is not None
                assert found.state == {"a": 1}
                user.rollback()
            _insert(user, [event(name)])
            assert store.joined(user.connection).save(key, {"a": 2}) == 1
            user.commit()
            kept = store.load(key)
            assert kept is not None
            assert kept.state == {"a": 2}
    assert effects(place) == sorted(place.users)


@needs("joins")
def check_a_page_is_part_of_the_users_transaction(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(6)])
            with store.lease("shop", name) as lease:
                for window in lease.windows("posts", since=minute(0)):
                    for page in window.pages(source.within(window)):
                        with page.commit(store.joined(user.connection)) as tx:
                            fresh = tx.fresh(page.items, key="id")
                            tx.execute("INSERT INTO effect (id) VALUES ('through tx')")
                        _insert(user, fresh)
                        user.commit()
            key = ("shop", name, "posts")
            assert store.coverage(key) == [Interval(minute(0), minute(60))]
            assert len(store.seen(key, [item["id"] for item in source.items])) == 6
            with store.lease("shop", name) as lease:
                assert mine(place, lease, source, overlap="1h") == []
    assert effects(place).count("through tx") == 2 * len(place.users)
    assert len(effects(place)) == 8 * len(place.users)


@needs("joins")
def check_a_page_that_is_rolled_back_is_not_lost(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(9)])
            with store.lease("shop", name) as lease:
                with raises(VersionConflict, "rolled back", "windows"):
                    _roll_back_the_first(
                        store, lease.windows("posts", since=minute(0)), source, user
                    )
                assert not [i for i in effects(place) if i.startswith(name)]
                mine(place, lease, source)
    assert len(effects(place)) == len({*effects(place)}) == 9 * len(place.users)


def _roll_back_the_first(store: Store, windows: Iterator[Any], source: Source, user: User) -> None:
    for window in windows:
        for page in window.pages(source.within(window)):
            try:
                with page.commit(store.joined(user.connection)) as tx:
                    fresh = tx.fresh(page.items, key="id")
                _insert(user, fresh)
            finally:
                user.rollback()


@needs("joins")
def check_a_last_page_that_is_rolled_back_is_not_lost(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for name, user in _users(place):
        with noting(name):
            source = Source([event(f"{name} {number}", number) for number in range(2)])
            with store.lease("shop", name) as lease:
                _roll_back_the_first(store, lease.windows("posts", since=minute(0)), source, user)
                assert store.coverage(("shop", name, "posts")) == []
                assert len(mine(place, lease, source)) == 2
    assert len(effects(place)) == 2 * len(place.users)


@needs("joins")
def check_live_events_that_are_rolled_back_are_not_covered(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)
    for name, user in _users(place):
        with noting(name):
            clock.set(minute(0))
            with store.lease("shop", name) as lease:
                with lease.live("posts", at="at") as live:
                    clock.advance("10m")
                    lost = live.batch([event("lost", 5)])
                    with lost.commit(store.joined(user.connection)) as tx:
                        tx.fresh(lost.items, key="id")
                    user.rollback()
                    clock.advance("10m")
                    try:
                        live.heartbeat()
                    except VersionConflict:
                        pass
                covered = store.coverage(("shop", name, "posts"))
                assert not [span for span in covered if span.start <= minute(5) < span.end]


@needs("joins")
def check_a_block_that_fails_undoes_only_itself(place: Place) -> None:
    store = opened(place)
    for name, user in _users(place):
        with noting(name):
            _insert(user, [event(name)])
            with raises(ZeroDivisionError):
                with store.joined(user.connection) as joined:
                    joined.save(("shop", name), "undone")
                    raise ZeroDivisionError
            with raises(VersionConflict):
                store.joined(user.connection).save(("shop", name), "refused", expected_version=3)
            store.joined(user.connection).save(("shop", name, "other"), "kept")
            user.commit()
            assert store.load(("shop", name, "other")) is not None
            found = store.load(("shop", name))
            assert found is None or found.state is None
    assert effects(place) == sorted(place.users)


@needs("joins")
def check_an_operation_is_part_of_the_users_transaction(place: Place) -> None:
    store = opened(place)
    for name, user in _users(place):
        with noting(name):
            with unchanged(place):
                with store.joined(user.connection).once(name) as op:
                    assert op
                    op.result = "undone"
                user.rollback()
            with store.joined(user.connection).once(name) as op:
                assert op
                op.tx.execute("INSERT INTO effect (id) VALUES ('ran')")
                op.result = name
            user.commit()
            with store.once(name) as op:
                assert not op
                assert op.result == name
    assert effects(place) == ["ran"] * len(place.users)


@needs("joins")
def check_reads_see_the_users_transaction(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since=minute(0)):
            commit_all(place, window, one_page(events(3)))
    for name, user in _users(place):
        with noting(name):
            joined = store.joined(user.connection)
            assert joined.seen(KEY, range(5)) == {0, 1, 2}
            assert joined.coverage(KEY) == [Interval(minute(0), minute(60))]
            assert joined.gaps(KEY, until=minute(70)) == [Interval(minute(60), minute(70))]
            assert joined.lag(KEY) is not None
            user.rollback()


@needs("joins")
def check_copy_has_its_own_way(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for name, user in _users(place):
        with noting(name):
            lease = store.lease("shop", name)
            lease.acquire()
            for window in lease.windows("posts", since=minute(0)):
                for page in window.pages(one_page(events(2))):
                    with raises(UsageError, "COPY"):
                        with page.commit(store.joined(user.connection)) as tx:
                            tx.copy("effect", ["id"], [("x",)])
                    break
            user.rollback()
    assert effects(place) == []


@needs("joins")
def check_what_is_no_connection_is_refused(place: Place) -> None:
    store = opened(place)
    for thing in (None, "postgresql:///app", object(), store, 7):
        with refused(place, UsageError, "joined"):
            store.joined(thing)
