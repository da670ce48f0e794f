# Generated from src/belaypin/testing/conformance/_async/messages.py by tools/generate_sync.py; do not edit.
"""Messages: sent with the rows or not at all, and each handled by one worker at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from belaypin._sync.store import Store
from belaypin.errors import UsageError
from belaypin.records.message import Delivery, Message
from belaypin.retry import Retry
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import effects, opened, pause, together
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import noting, raises, refused, unchanged
from belaypin.testing.conformance.needs import needs

_RETRY = Retry(max_attempts=2, backoff="10s", jitter=0)


def _noting(got: list[str], *, fail: bool = False) -> Callable[[Message], None]:
    """A handler that notes the keys it is called for."""

    def handle(message: Message) -> None:
        got.append(message.key)
        if fail:
            raise ValueError(message.payload)

    return handle


def _deliver(store: Store, *, fail: bool = False) -> list[str]:
    """The keys that one run has handled."""
    got: list[str] = []
    store.deliver("mail", _noting(got, fail=fail), retry=_RETRY)
    return got


def check_a_message_stands_and_falls_with_its_transaction(place: Place) -> None:
    store = opened(place)
    with raises(ZeroDivisionError):
        with store.once("op") as op:
            op.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
            assert op.tx.send("mail", {"n": 1}, key="undone")
            raise ZeroDivisionError
    assert _deliver(store) == []
    with store.once("op") as op:
        op.tx.execute("INSERT INTO effect (id) VALUES ('kept')")
        assert op.tx.send("mail", {"n": 1}, key="kept")
        assert not op.tx.send("mail", {"n": 2}, key="kept")
    assert effects(place) == ["kept"]
    assert _deliver(store) == ["kept"]
    with unchanged(place):
        assert _deliver(store) == []
    assert not store.send("mail", {"n": 3}, key="kept")
    assert store.undelivered() == []


@needs("joins")
def check_a_message_is_part_of_the_users_transaction(place: Place) -> None:
    store = opened(place)
    for name, connect in place.users.items():
        with noting(name):
            with connect() as user:
                with unchanged(place):
                    assert store.joined(user.connection).send("mail", 1, key=name)
                    user.rollback()
                assert store.joined(user.connection).send("mail", 1, key=name)
                user.commit()
            assert _deliver(store) == [name]


def check_a_failed_message_comes_again_and_then_waits(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    for key in ("a", "b"):
        store.send("mail", "no luck", key=key)
    assert _deliver(store, fail=True) == ["a", "b"]
    assert _deliver(store) == []
    clock.advance("10s")
    assert _deliver(store, fail=True) == ["a", "b"]
    clock.advance("1h")
    assert _deliver(store) == []
    stuck = store.undelivered("mail")
    assert [(m.key, m.status, m.attempt, m.error) for m in stuck] == [
        ("a", "quarantined", 2, "ValueError: no luck"),
        ("b", "quarantined", 2, "ValueError: no luck"),
    ]
    assert store.undelivered("mail", status="quarantined") == stuck
    assert store.undelivered(status="quarantined", after=stuck[0].id) == stuck[1:]
    assert store.undelivered("mail", status="waiting") == []
    assert store.redeliver("mail", "b")
    assert _deliver(store) == ["b"]
    assert [m.key for m in store.undelivered()] == ["a"]


@needs("stores")
def check_workers_share_the_messages(place: Place) -> None:
    store = opened(place)
    keys = [str(number) for number in range(12)]
    for key in keys:
        store.send("mail", key, key=key)
    now: list[str] = []

    def handle(message: Message) -> None:
        now.append(message.key)
        assert now.count(message.key) == 1, f"two at once: {message.key}"
        pause(0.002)

    def work(own: Store) -> Delivery:
        return own.deliver("mail", handle)

    stores = [place.open() for _ in range(3)]
    done = together([partial(work, own) for own in stores])
    assert sum(each.delivered for each in done if isinstance(each, Delivery)) == len(keys), done
    assert Counter(now) == Counter(keys)
    assert store.undelivered() == []


def check_a_claim_ends_by_the_databases_clock(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    store.send("mail", 1, key="a")
    got: list[str] = []

    def stand_still(message: Message) -> None:
        assert message.attempt == 1
        clock.advance("29s")
        assert _deliver(store) == []
        clock.advance("2s")
        got.extend(_deliver(store))

    assert store.deliver("mail", stand_still, ttl_s=30) == Delivery(taken_over=1)
    assert got == ["a"]


def check_what_was_delivered_is_dropped_in_time(place: Place) -> None:
    clock = FakeClock()
    store = opened(place, clock=clock)
    store.send("mail", 1, key="a")
    _deliver(store)
    store.send("mail", 1, key="b")
    clock.advance("1d")
    assert store.drop_delivered(older_than="1d") == 0
    clock.advance("1s")
    assert store.drop_delivered(older_than="1d") == 1
    assert _deliver(store) == ["b"]


def check_what_is_no_message_is_refused(place: Place) -> None:
    store = opened(place)
    for topic, payload, key in (("", 1, "k"), ("t", 1, ""), ("t", object(), "k"), ("t", 1, "\0")):
        with refused(place, UsageError):
            store.send(topic, payload, key=key)
