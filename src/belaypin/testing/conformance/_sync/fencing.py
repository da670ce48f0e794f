# Generated from src/belaypin/testing/conformance/_async/fencing.py by tools/generate_sync.py; do not edit.
"""Fencing: whoever lost a lease writes nothing, whatever it tries, and is told so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from belaypin._sync.lease import Lease
from belaypin._sync.live import Live
from belaypin._sync.window import Page
from belaypin.errors import Fenced, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, effects, hear, mine, opened, write
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import refused
from belaypin.testing.conformance.source import Source, event, events, minute


class Stale(NamedTuple):
    """A worker in the midst of its work, whose lease another one holds by now."""

    place: Place
    lease: Lease
    live: Live
    page: Page
    last_page: Page


def _commit_page(stale: Stale) -> None:
    with stale.page.commit() as tx:
        write(stale.place, tx, tx.fresh(stale.page.items, key="id"))


def _commit_statement(stale: Stale) -> None:
    with stale.page.commit() as tx:
        tx.execute("INSERT INTO effect (id) VALUES ('stale')")


def _commit_rows(stale: Stale) -> None:
    with stale.page.commit() as tx:
        tx.copy("effect", ["id"], [("stale",)])


def _commit_known(stale: Stale) -> None:
    with stale.last_page.commit() as tx:
        tx.fresh([], key="id")


def _change(stale: Stale) -> None:
    with stale.lease.changed("profile", {"name": "stale"}) as change:
        change.tx.execute("INSERT INTO effect (id) VALUES ('stale')")


def _change_of_a_new_stream(stale: Stale) -> None:
    with stale.lease.changed("other profile", {"name": "stale"}):
        pass


def _hear(stale: Stale) -> None:
    hear(stale.place, stale.live, event("stale"))


def _beat(stale: Stale) -> None:
    stale.live.heartbeat()


def _listen(stale: Stale) -> None:
    with stale.lease.live("events", at="at"):
        pass


def _listen_to_a_new_stream(stale: Stale) -> None:
    with stale.lease.live("other events", at="at"):
        pass


def _mine_a_new_stream(stale: Stale) -> None:
    source = Source(events(2))
    mine(stale.place, stale.lease, source, "other posts", since="beginning")


WRITES: list[Callable[[Stale], None]] = [
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


def _page(lease: Lease, stream: str, source: Source) -> Page:
    for window in lease.windows(stream, since=minute(0)):
        for page in window.pages(source.within(window)):
            return page
    raise AssertionError("there was no page")


def _stale(place: Place, lease: Lease) -> Stale:
    live = lease.live("events", at="at")
    live.__enter__()
    with lease.changed("profile", {"name": "first"}):
        pass
    page = _page(lease, KEY[2], Source(events(9)))
    return Stale(place, lease, live, page, _page(lease, "empty", Source([])))


def _each_write(place: Place, lose: Callable[..., Any]) -> None:
    clock = FakeClock(minute(60))
    store, other = opened(place, clock=clock), place.open(clock=clock)
    lease = store.lease(*KEY[:2], ttl_s=30)
    lease.acquire()
    stale = _stale(place, lease)
    lose(clock, other.lease(*KEY[:2], ttl_s=30))
    for write_stale in WRITES:
        with refused(place, Fenced):
            write_stale(stale)
    assert effects(place) == []


def check_a_stale_write_changes_nothing(place: Place) -> None:
    def lose(clock: FakeClock, other: Lease) -> None:
        clock.advance("31s")
        other.acquire()

    _each_write(place, lose)


def check_a_stale_write_changes_nothing_after_the_successor_is_gone(
    place: Place,
) -> None:
    def lose(clock: FakeClock, other: Lease) -> None:
        clock.advance("31s")
        other.acquire()
        other.release()

    _each_write(place, lose)


def check_a_stale_write_changes_nothing_after_the_clock_was_set_back(
    place: Place,
) -> None:
    def lose(clock: FakeClock, other: Lease) -> None:
        clock.set(clock.now.replace(year=clock.now.year - 10))
        other.acquire()

    _each_write(place, lose)


def check_the_successor_goes_on_from_the_last_commit(place: Place) -> None:
    clock, source = FakeClock(minute(60)), Source(events(9))
    store, other = opened(place, clock=clock), place.open(clock=clock)
    stale = store.lease(*KEY[:2], ttl_s=30)
    stale.acquire()
    for window in stale.windows(KEY[2], since=minute(0)):
        for page in window.pages(source.within(window)):
            if page.items[0]["id"] == 3:
                clock.advance("31s")
                with other.lease(*KEY[:2]) as lease:
                    with refused(place, Fenced):
                        with page.commit() as tx:
                            write(place, tx, tx.fresh(page.items, key="id"))
                    assert mine(place, lease, source) == [3, 4, 5, 6, 7, 8]
                break
            with page.commit() as tx:
                write(place, tx, tx.fresh(page.items, key="id"))
    assert effects(place) == [str(number) for number in range(9)]


def check_a_broken_lease_fences_its_holder_at_once(place: Place) -> None:
    store = opened(place)
    lease = store.lease(*KEY[:2])
    lease.acquire()
    held = lease.token
    broken = store.break_lease(KEY[:2], reason="it hangs")
    assert broken > held
    with refused(place, Fenced, str(broken)):
        mine(place, lease, Source(events(3)))
    (row,) = store.leases()
    assert (row.state, row.owner, row.token) == ("expired", "nobody", broken)
    (entry,) = store.audit()
    assert (entry.action, entry.key, entry.detail["reason"]) == ("break-lease", row.key, "it hangs")
    assert entry.detail["token"] == [held, broken]
    with store.lease(*KEY[:2]) as other:
        assert other.token > broken
        assert mine(place, other, Source(events(3))) == [0, 1, 2]


def check_only_a_held_lease_is_broken(place: Place) -> None:
    store = opened(place)
    with refused(place, UsageError, "nobody holds"):
        store.break_lease(KEY[:2])
    with store.lease(*KEY[:2]):
        with refused(place, UsageError, "role"):
            store.break_lease(KEY[:2], role="live")
    with refused(place, UsageError):
        store.break_lease(KEY[:2])
    for bad in (KEY, KEY[0]):
        with refused(place, UsageError, "entity"):
            store.break_lease(bad)
