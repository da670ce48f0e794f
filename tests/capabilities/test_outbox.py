"""The outbox: sent with the rows or not at all, delivered at least once under a stable key."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import Delivery, Fenced, Message, Retry, StoreUnavailable, UsageError
from belaypin.clock import sleep_s
from belaypin.programs import outbox
from tests.capabilities.sites import START, Awaited, FixedClock, Site

FILES = ["file", "postgres"]
NOW = Retry(backoff=0, jitter=0, max_attempts=3)
LATER = Retry(backoff="10s", jitter=0, max_attempts=3, give_up_on=(LookupError,))


class Receiver:
    """A handler of either colour that notes what it gets, and raises what it is told to."""

    def __init__(self, site: Site, *errors: BaseException | None) -> None:
        self.got: list[Message] = []
        self._errors = list(errors)
        self.handle = self._sync if site.colour == "sync" else self._async

    @property
    def keys(self) -> list[str]:
        return [message.key for message in self.got]

    def _sync(self, message: Message) -> str:
        self.got.append(message)
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return "what a handler returns is of no interest"

    async def _async(self, message: Message) -> str:
        await asyncio.sleep(0)
        return self._sync(message)


async def sent(store: Any, *keys: str, topic: str = "mail") -> None:
    for key in keys:
        assert await store.send(topic, {"to": key}, key=key)


async def listed(store: Any, topic: str | None = "mail") -> list[tuple[str, str, int]]:
    return [(m.key, m.status, m.attempt) for m in await store.undelivered(topic)]


# --- sent with the rows, or not at all ------------------------------------------------------------


async def _page(store: Any, crash: bool) -> None:
    async with store.lease("shop", "site:1") as lease:
        async for window in lease.windows("orders", since="1d", overlap="1d"):
            async for page in window.pages(lambda cursor: ([{"id": 1}, {"id": 2}], None)):
                async with page.commit() as tx:
                    for order in await tx.fresh(page.items, key="id"):
                        key = await _plain(tx.idempotency_key(order))
                        assert await tx.send("mail", {"order": order["id"]}, key=key)
                    if crash:
                        raise ZeroDivisionError


async def _plain(value: Any) -> Any:
    return await value if isinstance(value, Awaited) else value


async def _change(store: Any, crash: bool) -> None:
    async with (
        store.lease("shop", "site:1") as lease,
        lease.changed("profile", {"name": "Ada"}) as change,
    ):
        if change:
            await change.tx.send("mail", {"order": 1}, key="1")
            await change.tx.send("mail", {"order": 2}, key="2")
        if crash:
            raise ZeroDivisionError


async def _operation(store: Any, crash: bool) -> None:
    async with store.once("op") as op:
        if op:
            await op.tx.send("mail", {"order": 1}, key="1")
            await op.tx.send("mail", {"order": 2}, key="2")
        if crash:
            raise ZeroDivisionError


@pytest.mark.parametrize("within", [_page, _change, _operation])
async def test_a_message_is_sent_with_its_transaction_or_not_at_all(
    site: Site, within: Any
) -> None:
    store = await site.open()
    for crash in (True, False, False):
        try:
            await within(store, crash)
        except ZeroDivisionError:
            assert await store.undelivered() == []
    receiver = Receiver(site)
    assert await store.deliver("mail", receiver.handle) == Delivery(delivered=2)
    assert [message.payload for message in receiver.got] == [{"order": 1}, {"order": 2}]
    assert len({*receiver.keys}) == 2
    assert await store.deliver("mail", receiver.handle) == Delivery()


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
async def test_a_message_is_part_of_a_joined_transaction(site: Site) -> None:
    store = await site.open()
    with site.user() as connection:
        for end in (connection.rollback, connection.commit):
            assert await store.joined(connection).send("mail", 1, key="a")
            end()
        assert not await store.joined(connection).send("mail", 2, key="a")
        connection.rollback()
    assert [(m.key, m.payload) for m in await store.undelivered()] == [("a", 1)]


@pytest.mark.parametrize("database", ["memory"])
async def test_a_page_with_nothing_but_a_message_is_committed(site: Site) -> None:
    store = await site.open()
    async with store.lease("shop", "site:1") as lease:
        async for window in lease.windows("orders", since="1d"):
            async for page in window.pages(lambda cursor: ([], None)):
                async with page.commit() as tx:
                    assert await tx.send("mail", "empty page", key="1")
    assert await listed(store) == [("1", "waiting", 0)]


async def test_who_was_fenced_sends_nothing(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    stale = store.once("op", ttl_s=30)
    await stale.__aenter__()
    clock.advance(31)
    async with store.once("op") as op:
        await op.tx.send("mail", "theirs", key="1")
    tx = stale.tx
    with pytest.raises(Fenced) as raised:
        await tx.send("mail", "stale", key="2")
    await stale.__aexit__(Fenced, raised.value, None)
    assert await listed(store) == [("1", "waiting", 0)]


async def test_the_first_message_under_a_key_counts(site: Site) -> None:
    store = await site.open()
    assert await store.send("mail", "first", key="a")
    assert not await store.send("mail", "second", key="a")
    assert await store.send("sms", "another topic", key="a")
    receiver = Receiver(site)
    await store.deliver("mail", receiver.handle)
    assert not await store.send("mail", "third", key="a")
    assert await store.deliver("mail", receiver.handle) == Delivery()
    assert [m.payload for m in receiver.got] == ["first"]


@pytest.mark.parametrize("database", ["memory"])
async def test_what_can_not_be_sent_is_refused_before_anything_is_written(site: Site) -> None:
    store = await site.open()
    bad: list[tuple[Any, Any, Any]] = [
        ("", 1, "k"),
        ("t", 1, ""),
        (7, 1, "k"),
        ("t", 1, 7),
        ("t", 1, "k\0"),
        ("t", 1, "\ud800"),
        ("t\0", 1, "k"),
        ("t", 1, "k" * 2000),
        ("t", object(), "k"),
        ("t", float("nan"), "k"),
    ]
    for topic, payload, key in bad:
        with pytest.raises(UsageError):
            await store.send(topic, payload, key=key)
    assert await store.undelivered() == []
    for options in ({"max_messages": -1}, {"max_messages": "3"}, {"ttl_s": 0}, {"wait_s": "soon"}):
        with pytest.raises(UsageError):
            await store.deliver("mail", print, **options)
    with pytest.raises(UsageError):
        await store.drop_delivered(older_than="soon")


# --- delivered ------------------------------------------------------------------------------------


async def test_a_handler_learns_all_about_its_message(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    await store.send("mail", {"to": ["Ada", None], "text": "x" * 1000}, key="a:b'\N{SNOWMAN}")
    receiver = Receiver(site)
    await store.deliver("mail", receiver.handle)
    (message,) = receiver.got
    assert message.payload == {"to": ["Ada", None], "text": "x" * 1000}
    assert (message.topic, message.key, message.attempt) == ("mail", "a:b'\N{SNOWMAN}", 1)
    assert message.created_at == START
    with pytest.raises(AttributeError):
        message.key = "other"  # type: ignore[misc]


@pytest.mark.parametrize("database", ["memory"])
async def test_messages_come_in_order_and_each_topic_by_itself(site: Site) -> None:
    store = await site.open()
    await sent(store, "c", "a", "b")
    await sent(store, "d", topic="sms")
    receiver = Receiver(site)
    assert await store.deliver("mail", receiver.handle, max_messages=0) == Delivery()
    assert await store.deliver("mail", receiver.handle, max_messages=2) == Delivery(delivered=2)
    assert receiver.keys == ["c", "a"]
    assert await listed(store, None) == [("b", "waiting", 0), ("d", "waiting", 0)]
    await store.deliver("mail", receiver.handle)
    assert receiver.keys == ["c", "a", "b"]
    assert await listed(store, None) == [("d", "waiting", 0)]


async def test_what_fails_is_tried_again_later_and_holds_up_nothing(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "a", "b")
    receiver = Receiver(site, ValueError("no\0luck"), None)
    done = await store.deliver("mail", receiver.handle, retry=LATER)
    assert done == Delivery(delivered=1, failed=1)
    (message,) = await store.undelivered("mail")
    assert (message.key, message.attempt, message.status) == ("a", 1, "waiting")
    assert message.error == "ValueError: no\\0luck"
    assert message.next_try_at == START + timedelta(seconds=10)
    clock.advance(9)
    assert (await store.deliver("mail", receiver.handle, retry=LATER)).total == 0
    clock.advance(1)
    assert await store.deliver("mail", receiver.handle, retry=LATER) == Delivery(delivered=1)
    assert [(m.key, m.attempt) for m in receiver.got] == [("a", 1), ("b", 1), ("a", 2)]
    assert await store.undelivered() == []


async def test_what_fails_too_often_waits_for_a_person(site: Site) -> None:
    store = await site.open()
    await sent(store, "a", "b")
    errors = [ValueError("1"), None, ValueError("2"), ValueError("3")]
    receiver = Receiver(site, *errors)
    done = await store.deliver("mail", receiver.handle, retry=NOW)
    assert done == Delivery(delivered=1, failed=2, quarantined=1)
    assert receiver.keys == ["a", "b", "a", "a"]
    (message,) = await store.undelivered()
    assert str(message) == "mail 'a', quarantined after 3 attempts: ValueError: 3"
    assert (await store.deliver("mail", receiver.handle, retry=NOW)).total == 0
    assert await store.redeliver("mail", "a")
    (noted,) = await store.audit()
    assert (noted.action, noted.key, noted.detail) == (
        "redeliver",
        None,
        {"topic": "mail", "key": "a"},
    )
    assert await store.deliver("mail", receiver.handle, retry=NOW) == Delivery(delivered=1)
    assert receiver.got[-1].attempt == 1
    assert not await store.redeliver("mail", "a")  # delivered
    assert not await store.redeliver("mail", "never sent")


@pytest.mark.parametrize("database", ["memory"])
async def test_a_failure_that_is_final_is_not_tried_again(site: Site) -> None:
    store = await site.open()
    await sent(store, "a")
    receiver = Receiver(site, KeyError("no such user"))
    assert await store.deliver("mail", receiver.handle, retry=LATER) == Delivery(quarantined=1)
    assert await listed(store) == [("a", "quarantined", 1)]


@pytest.mark.parametrize("database", ["memory"])
async def test_what_is_not_the_messages_fault_ends_the_run_and_is_kept(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "a", "b")
    for error in (StoreUnavailable("away"), UsageError("a bug")):
        receiver = Receiver(site, error)
        with pytest.raises(type(error)):
            await store.deliver("mail", receiver.handle, retry=LATER)
        clock.advance(20)
    assert await listed(store) == [("a", "waiting", 2), ("b", "waiting", 0)]
    with pytest.raises(UsageError):
        await store.deliver("mail", Receiver(site, UsageError("a bug")).handle, retry=LATER)
    # In the end it makes way for the others.
    assert await store.deliver("mail", Receiver(site).handle, retry=LATER) == Delivery(delivered=1)
    assert await listed(store) == [("a", "quarantined", 3)]


async def test_an_interrupted_message_is_given_back(site: Site) -> None:
    store = await site.open()
    await sent(store, "a")
    stop = KeyboardInterrupt if site.colour == "sync" else asyncio.CancelledError
    for _ in range(5):
        with pytest.raises(stop):
            await store.deliver("mail", Receiver(site, stop()).handle, retry=NOW)
        assert await listed(store) == [("a", "waiting", 0)]
    assert await store.deliver("mail", Receiver(site).handle) == Delivery(delivered=1)


async def test_a_damaged_payload_holds_up_nothing(site: Site) -> None:
    store = await site.open()
    await sent(store, "a", "b", "c")
    cast = "::bytea" if site.url.startswith("postgresql") else ""
    await site.query(
        f"UPDATE belaypin_outbox SET payload = 'garbage'{cast} WHERE message_key = 'b'"
    )
    receiver = Receiver(site)
    done = await store.deliver("mail", receiver.handle)
    assert done == Delivery(delivered=2, quarantined=1)
    assert receiver.keys == ["a", "c"]
    (message,) = await store.undelivered()
    assert message.payload is None
    assert message.error.startswith("CorruptRecord")


@pytest.mark.parametrize("database", ["memory"])
@pytest.mark.parametrize("colour", ["sync"])
async def test_an_async_handler_is_refused_by_a_sync_store(site: Site) -> None:
    store = await site.open()
    await sent(store, "a")

    async def handler(message: Message) -> None: ...

    with pytest.raises(UsageError, match="aopen"):
        await store.deliver("mail", handler)
    assert [m.key for m in await store.undelivered()] == ["a"]


@pytest.mark.parametrize("database", ["memory"])
async def test_waiting_for_messages(site: Site) -> None:
    store = await site.open()
    await sent(store, "a")
    receiver = Receiver(site, ValueError())
    retry = Retry(backoff="100ms", jitter=0)
    done = await store.deliver("mail", receiver.handle, wait_s=1, retry=retry, max_messages=2)
    assert done == Delivery(delivered=1, failed=1)


# --- claims ---------------------------------------------------------------------------------------


async def test_a_claimed_message_is_nobody_elses_until_its_time_is_over(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "a", "b")
    inner: list[Any] = []
    other = Receiver(site)

    async def look(message: Message, seconds: float) -> None:
        clock.advance(seconds)
        inner.append(await store.deliver("mail", other.handle, ttl_s=30))

    outer = await _deliver_while(site, store, look, [29, 0])
    assert inner == [Delivery(delivered=1), Delivery()]
    assert other.keys == ["b"]
    assert outer == Delivery(delivered=1)


async def _deliver_while(site: Site, store: Any, during: Any, seconds: list[float]) -> Delivery:
    """Deliver one message in whose handler ``during`` happens."""

    async def handler(message: Message) -> None:
        for each in seconds:
            await during(message, each)

    def sync_handler(message: Message) -> None:
        coroutine = handler(message)  # on the sync side nothing in it really waits
        with suppress(StopIteration):
            coroutine.send(None)

    chosen = handler if site.colour == "async" else sync_handler
    delivery: Delivery = await store.deliver("mail", chosen, ttl_s=30, max_messages=1)
    return delivery


@pytest.mark.parametrize("database", ["memory"])
async def test_a_worker_that_stood_still_does_not_undo_its_successor(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "a")
    other = Receiver(site)
    inner: list[Any] = []

    async def look(message: Message, seconds: float) -> None:
        clock.advance(seconds)
        inner.append(await store.deliver("mail", other.handle))

    assert await _deliver_while(site, store, look, [31]) == Delivery(taken_over=1)
    assert inner == [Delivery(delivered=1)]
    assert [(m.key, m.attempt) for m in other.got] == [("a", 2)]


async def test_a_message_that_kills_its_worker_is_quarantined(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "poison", "b")
    for _ in range(3):
        assert await _claim(store)  # and never heard of again
        clock.advance(31)
    receiver = Receiver(site)
    done = await store.deliver("mail", receiver.handle, retry=LATER)
    assert done == Delivery(delivered=1, quarantined=1)
    assert receiver.keys == ["b"]
    (message,) = await store.undelivered()
    assert "3 attempts" in message.error


async def _claim(store: Any) -> Any:
    """A claim of another worker's, if there is a message for it."""
    return await _plain(await store._run(outbox.claim("mail", "another", 30_000_000, 0)))


@pytest.mark.parametrize("database", ["memory"])
async def test_a_worker_that_fails_too_late_leaves_the_claim_of_its_successor(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, "a")

    async def taken_over(message: Message, seconds: float) -> None:
        clock.advance(seconds)
        assert await _claim(store)
        raise ValueError("too late")

    assert await _deliver_while(site, store, taken_over, [31]) == Delivery(taken_over=1)
    assert await _claim(store) is None


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
async def test_workers_at_once_share_the_messages(site: Site) -> None:
    store = await site.open()
    await sent(store, *map(str, range(30)))
    ready = threading.Barrier(3)
    now: list[str] = []
    got: list[str] = []

    def handler(message: Message) -> None:
        now.append(message.key)
        assert now.count(message.key) == 1
        sleep_s(0.005)
        got.append(message.key)
        now.remove(message.key)

    def work() -> None:
        with belaypin.open(site.url) as mine:
            ready.wait()
            mine.deliver("mail", handler)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert Counter(got) == Counter(map(str, range(30)))
    assert await store.undelivered() == []


@pytest.mark.parametrize("database", FILES)
async def test_a_long_handler_keeps_its_claim(site: Site) -> None:
    store, other = await site.open(), await site.open()
    await sent(store, "a")
    receiver = Receiver(site)

    async def look(message: Message, seconds: float) -> None:
        sleep_s(seconds)
        await other.deliver("mail", receiver.handle)

    async def handler(message: Message) -> None:
        await look(message, 0.5)

    def sync_handler(message: Message) -> None:
        with pytest.raises(StopIteration):
            handler(message).send(None)

    chosen = handler if site.colour == "async" else sync_handler
    assert await store.deliver("mail", chosen, ttl_s=0.2) == Delivery(delivered=1)
    assert receiver.got == []


# --- kept and dropped -----------------------------------------------------------------------------


async def test_delivered_messages_are_dropped_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for side in ("_sync", "_async"):
        monkeypatch.setattr(f"belaypin.{side}.outbox._DROPPED_PER_STEP", 2)
    clock = FixedClock()
    store = await site.open(clock=clock)
    await sent(store, *"abcde")
    receiver = Receiver(site)
    await store.deliver("mail", receiver.handle)
    await sent(store, "waits")
    clock.advance(7 * 86_400)
    assert await store.drop_delivered(older_than="7d") == 0
    assert not await store.send("mail", 1, key="a")
    clock.advance(1)
    assert await store.drop_delivered(older_than="7d") == 5
    assert await store.drop_delivered(older_than="7d") == 0
    assert await listed(store) == [("waits", "waiting", 0)]
    assert await store.send("mail", 1, key="a")  # nobody knows it any more


async def test_a_long_list_comes_in_pages(site: Site) -> None:
    store = await site.open()
    await sent(store, *map(str, range(7)))
    await sent(store, "x", topic="sms")
    seen: list[str] = []
    after = 0
    while page := await store.undelivered(limit=3, after=after):
        seen += [m.key for m in page]
        after = page[-1].id
    assert seen == [*map(str, range(7)), "x"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=25))
def test_each_key_is_delivered_once_however_its_attempts_end(plan: list[tuple[int, int]]) -> None:
    """``plan``: keys as they are sent, and how many times the handler fails for each."""
    failures = {str(key): fails for key, fails in reversed(plan)}
    left = dict(failures)
    got: Counter[str] = Counter()

    def handler(message: Message) -> None:
        assert message.attempt == failures[message.key] - left[message.key] + 1
        if left[message.key]:
            left[message.key] -= 1
            raise ValueError(message.key)
        got[message.key] += 1

    with belaypin.open("sqlite:///:memory:") as store:
        firsts = [store.send("t", key, key=str(key)) for key, _ in plan]
        assert sum(firsts) == len(failures)
        done = store.deliver("t", handler, retry=NOW)
        stuck = {m.key for m in store.undelivered()}
    assert stuck == {key for key, fails in failures.items() if fails >= 3}
    assert got == Counter(failures.keys() - stuck)
    assert (done.delivered, done.quarantined) == (len(got), len(stuck))
