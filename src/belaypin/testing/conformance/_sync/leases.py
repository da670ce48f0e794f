# Generated from src/belaypin/testing/conformance/_async/leases.py by tools/generate_sync.py; do not edit.
"""Leases: one holder at a time, by the database's clock, with tokens that only grow."""

from __future__ import annotations

from typing import Any

from belaypin.errors import Fenced, LeaseHeld, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, opened, pause
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused, unchanged
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import minute

ENTITY = KEY[:2]


def check_a_lease_is_held_by_one(place: Place) -> None:
    store, other = opened(place), place.open()
    with store.lease(*ENTITY) as lease:
        assert lease.token > 0
        with refused(place, LeaseHeld, "user:7", "wait_s", str(lease.token)):
            other.lease(*ENTITY).acquire()
    with other.lease(*ENTITY):
        pass


def check_roles_hold_leases_of_their_own(place: Place) -> None:
    store = opened(place)
    with store.lease(*ENTITY, role="live") as live, store.lease(*ENTITY) as main:
        assert (live.role, main.role) == ("live", "main")
        with raises(LeaseHeld):
            store.lease(*ENTITY, role="live").acquire()


def check_entities_hold_leases_of_their_own(place: Place) -> None:
    store = opened(place)
    with store.lease("shop", "a/b"), store.lease("shop", "a"), store.lease("shop/a", "b"):
        pass


def check_tokens_only_grow(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    tokens = []
    for step in ("release", "release", "expire", "back", "expire", "release", "forward"):
        lease = store.lease(*ENTITY, ttl_s=30)
        lease.acquire()
        tokens.append(lease.token)
        if step == "release":
            lease.release()
        elif step == "expire":
            clock.advance("31s")
        else:
            clock.set(clock.now.replace(year=clock.now.year + (10 if step == "forward" else -10)))
    assert tokens == sorted(set(tokens)), tokens


def check_an_expired_lease_is_taken_over(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    stale = store.lease(*ENTITY, ttl_s=30)
    stale.acquire()
    clock.advance("29s")
    with raises(LeaseHeld):
        store.lease(*ENTITY).acquire()
    clock.advance("2s")
    with store.lease(*ENTITY) as lease:
        assert lease.token > stale.token


def check_a_clock_set_back_blocks_nobody(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    stale = store.lease(*ENTITY, ttl_s=30)
    stale.acquire()
    clock.set(clock.now.replace(year=clock.now.year - 10))
    with store.lease(*ENTITY) as lease:
        assert lease.token > stale.token


def check_waiting_ends_when_the_holder_expires(place: Place) -> None:
    class Running(FakeClock):
        """Ten seconds pass between any two looks at it."""

        def now_us(self) -> int:
            self.advance(10)
            return super().now_us()

    store = opened(place, clock=Running())
    stale = store.lease(*ENTITY, ttl_s=120)
    stale.acquire()
    with store.lease(*ENTITY, ttl_s=120, wait_s=20) as lease:
        assert lease.token > stale.token


def check_waiting_has_an_end(place: Place) -> None:
    store = opened(place)
    with store.lease(*ENTITY):
        with refused(place, LeaseHeld):
            store.lease(*ENTITY, wait_s=0.1).acquire()


def check_a_block_that_fails_releases_its_lease(place: Place) -> None:
    store = opened(place)
    with raises(ZeroDivisionError):
        with store.lease(*ENTITY):
            raise ZeroDivisionError
    with store.lease(*ENTITY):
        pass


def check_a_stale_release_changes_nothing(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    stale = store.lease(*ENTITY, ttl_s=30)
    stale.acquire()
    clock.advance("31s")
    with store.lease(*ENTITY):
        with unchanged(place):
            stale.release()
        with raises(LeaseHeld):
            store.lease(*ENTITY).acquire()


def check_the_heartbeat_keeps_a_short_lease(place: Place) -> None:
    store = opened(place)
    with store.lease(*ENTITY, ttl_s=0.3) as lease:
        pause(0.7)
        with raises(LeaseHeld):
            store.lease(*ENTITY).acquire()
        assert lease.token


def check_a_stale_heartbeat_renews_nothing(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    stale = store.lease(*ENTITY, ttl_s=0.3)
    stale.acquire()
    clock.advance("1h")
    holder = store.lease(*ENTITY, ttl_s=3600)
    # In the few moments since, a heartbeat of the stale one may have come first.
    for _ in range(50):
        try:
            holder.acquire()
            break
        except LeaseHeld:
            clock.advance("1h")
    row = place.query("SELECT * FROM belaypin_lease")
    pause(0.4)
    assert place.query("SELECT * FROM belaypin_lease") == row
    with raises(Fenced):
        assert stale.token
    assert holder.token


@needs("stores")
def check_a_long_transaction_starves_no_heartbeat(place: Place) -> None:
    store, other = opened(place), place.open()
    with store.lease(*ENTITY, ttl_s=0.4) as lease:
        for number in range(2):
            with lease.changed("profile", {"number": number}) as change:
                change.tx.execute("INSERT INTO effect (id) VALUES ('x')")
                pause(0.6)
            with raises(LeaseHeld):
                other.lease(*ENTITY).acquire()


def check_a_lease_may_last_for_long(place: Place) -> None:
    store = place.open()
    with store.lease(*ENTITY, ttl_s="90d") as lease, lease.changed("doc", {"a": 1}) as change:
        assert change


def check_a_lease_works_only_while_it_is_held(place: Place) -> None:
    store = opened(place)
    lease = store.lease(*ENTITY)
    with refused(place, UsageError, "not held"):
        assert lease.token
    with lease:
        with refused(place, UsageError, "held already"):
            lease.acquire()
    with refused(place, UsageError, "not held"):
        for _ in lease.windows("posts", since=minute(0)):
            pass
    with lease:
        assert lease.token


def check_bad_leases_are_refused(place: Place) -> None:
    store = opened(place)
    options: list[dict[str, Any]] = [
        {"ttl_s": 0.01},
        {"ttl_s": -1},
        {"wait_s": -1},
        {"role": ""},
        {"role": "a\0b"},
    ]
    for bad in options:
        with refused(place, UsageError):
            store.lease(*ENTITY, **bad)
    entities: list[Any] = ["", "a\0b", "x" * 10_000, "\ud800", 7, None]
    for entity in entities:
        with refused(place, UsageError):
            store.lease("shop", entity)
