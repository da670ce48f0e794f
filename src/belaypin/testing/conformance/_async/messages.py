"""Messages: sent with the rows or not at all, and each handled by one worker at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from belaypin._async.store import AsyncStore
from belaypin.errors import UsageError
from belaypin.records.message import Delivery, Message
from belaypin.retry import Retry
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import effects, opened, pause, together
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import noting, raises, refused, unchanged
from belaypin.testing.conformance.needs import needs

_RETRY = Retry(max_attempts=2, backoff="10s", jitter=0)


def _noting(got: list[str], *, fail: bool = False) -> Callable[[Message], Awaitable[None]]:
    """A handler that notes the keys it is called for."""

    async def handle(message: Message) -> None:
        got.append(message.key)
        if fail:
            raise ValueError(message.payload)

    return handle


async def _deliver(store: AsyncStore, *, fail: bool = False) -> list[str]:
    """The keys that one run has handled."""
    got: list[str] = []
    await store.deliver("mail", _noting(got, fail=fail), retry=_RETRY)
    return got


async def check_a_message_stands_and_falls_with_its_transaction(place: AsyncPlace) -> None:
    store = await opened(place)
    with raises(ZeroDivisionError):
        async with store.once("op") as op:
            await op.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
            assert await op.tx.send("mail", {"n": 1}, key="undone")
            raise ZeroDivisionError
    assert await _deliver(store) == []
    async with store.once("op") as op:
        await op.tx.execute("INSERT INTO effect (id) VALUES ('kept')")
        assert await op.tx.send("mail", {"n": 1}, key="kept")
        assert not await op.tx.send("mail", {"n": 2}, key="kept")
    assert effects(place) == ["kept"]
    assert await _deliver(store) == ["kept"]
    with unchanged(place):
        assert await _deliver(store) == []
    assert not await store.send("mail", {"n": 3}, key="kept")
    assert await store.undelivered() == []


@needs("joins")
async def check_a_message_is_part_of_the_users_transaction(place: AsyncPlace) -> None:
    store = await opened(place)
    for name, connect in place.users.items():
        with noting(name):
            async with connect() as user:
                with unchanged(place):
                    assert await store.joined(user.connection).send("mail", 1, key=name)
                    await user.rollback()
                assert await store.joined(user.connection).send("mail", 1, key=name)
                await user.commit()
            assert await _deliver(store) == [name]


async def check_a_failed_message_comes_again_and_then_waits(place: AsyncPlace) -> None:
    clock = FakeClock()
    store = await opened(place, clock=clock)
    for key in ("a", "b"):
        await store.send("mail", "no luck", key=key)
    assert await _deliver(store, fail=True) == ["a", "b"]
    assert await _deliver(store) == []
    clock.advance("10s")
    assert await _deliver(store, fail=True) == ["a", "b"]
    clock.advance("1h")
    assert await _deliver(store) == []
    stuck = await store.undelivered("mail")
    assert [(m.key, m.status, m.attempt, m.error) for m in stuck] == [
        ("a", "quarantined", 2, "ValueError: no luck"),
        ("b", "quarantined", 2, "ValueError: no luck"),
    ]
    assert await store.undelivered("mail", status="quarantined") == stuck
    assert await store.undelivered(status="quarantined", after=stuck[0].id) == stuck[1:]
    assert await store.undelivered("mail", status="waiting") == []
    assert await store.redeliver("mail", "b")
    assert await _deliver(store) == ["b"]
    assert [m.key for m in await store.undelivered()] == ["a"]


@needs("stores")
async def check_workers_share_the_messages(place: AsyncPlace) -> None:
    store = await opened(place)
    keys = [str(number) for number in range(12)]
    for key in keys:
        await store.send("mail", key, key=key)
    now: list[str] = []

    async def handle(message: Message) -> None:
        now.append(message.key)
        assert now.count(message.key) == 1, f"two at once: {message.key}"
        await pause(0.002)

    async def work(own: AsyncStore) -> Delivery:
        return await own.deliver("mail", handle)

    stores = [await place.open() for _ in range(3)]
    done = await together([partial(work, own) for own in stores])
    assert sum(each.delivered for each in done if isinstance(each, Delivery)) == len(keys), done
    assert Counter(now) == Counter(keys)
    assert await store.undelivered() == []


async def check_a_claim_ends_by_the_databases_clock(place: AsyncPlace) -> None:
    clock = FakeClock()
    store = await opened(place, clock=clock)
    await store.send("mail", 1, key="a")
    got: list[str] = []

    async def stand_still(message: Message) -> None:
        assert message.attempt == 1
        clock.advance("29s")
        assert await _deliver(store) == []
        clock.advance("2s")
        got.extend(await _deliver(store))

    assert await store.deliver("mail", stand_still, ttl_s=30) == Delivery(taken_over=1)
    assert got == ["a"]


async def check_what_was_delivered_is_dropped_in_time(place: AsyncPlace) -> None:
    clock = FakeClock()
    store = await opened(place, clock=clock)
    await store.send("mail", 1, key="a")
    await _deliver(store)
    await store.send("mail", 1, key="b")
    clock.advance("1d")
    assert await store.drop_delivered(older_than="1d") == 0
    clock.advance("1s")
    assert await store.drop_delivered(older_than="1d") == 1
    assert await _deliver(store) == ["b"]


async def check_what_is_no_message_is_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    for topic, payload, key in (("", 1, "k"), ("t", 1, ""), ("t", object(), "k"), ("t", 1, "\0")):
        with refused(place, UsageError):
            await store.send(topic, payload, key=key)
