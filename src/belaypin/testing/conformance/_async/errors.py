"""Input that can't be right: the error says what to do, and nothing is written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from belaypin._async.lease import AsyncLease
from belaypin.errors import SqlError, StoreClosed, UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import (
    KEY,
    commit_all,
    effects,
    mine,
    opened,
    write,
)
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import Item, Source, event, events, minute, one_page

BAD_ITEMS: list[tuple[Any, str]] = [
    ({}, "id"),
    ({"ID": 1, "name": "x"}, "name"),
    ({"id": None}, "None"),
    ({"id": ""}, "empty"),
    ({"id": 1.5}, "1.5"),
    ({"id": True}, "True"),
    ({"id": b"x"}, "bytes"),
    ({"id": 2**63}, "64 bits"),
    ({"id": -(2**63) - 1}, "64 bits"),
    ({"id": "a\0b"}, "NUL"),
    ({"id": "x" * 1025}, "1025"),
    ({"id": "\N{SNOWMAN}" * 400}, "1200"),
    ({"id": "\ud800"}, "surrogate"),
    ({"id": ("a", "\ud800")}, "surrogate"),
    ({"id": ("a", None)}, "None"),
    ({"id": {}}, "dict"),
    ({"id": []}, "list"),
    ("text", "id"),
    (None, "id"),
    (7, "id"),
]


async def _each_bad_item(place: AsyncPlace, lease: AsyncLease, stream: str) -> None:
    async for window in lease.windows(stream, since=minute(0), overlap="1h"):
        for bad, word in BAD_ITEMS:
            items = [event("good", 1), bad]
            async for page in window.pages(one_page(items)):
                with refused(place, UsageError, word):
                    async with page.commit() as tx:
                        await write(place, tx, await tx.fresh(page.items, key="id"))
                break


async def check_items_without_an_id_are_refused(place: AsyncPlace) -> None:
    """On a new stream, and on one whose ledger has to be read first."""
    clock = FakeClock(minute(60))
    store = await opened(place, clock=clock)
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]), "new", until=minute(1))
        await _each_bad_item(place, lease, "new")
        await mine(place, lease, Source([*events(3), event("a")]), "old", until=minute(30))
    async with store.lease(*KEY[:2]) as lease:
        await _each_bad_item(place, lease, "old")
    again = Source([*events(5), event("a"), event("good")])
    async with store.lease(*KEY[:2]) as lease:
        assert await mine(place, lease, again, "old", overlap="1h") == [3, 4, "good"]


async def check_a_bad_id_is_never_seen(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([*events(3), event("a")]))
    ids: list[Any] = [None, 1.5, 2**63, "\ud800", b"x", {}]
    for bad in ids:
        with refused(place, UsageError):
            await store.seen(KEY, [bad])


async def check_event_times_that_would_have_to_be_guessed_are_refused(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    bad: list[Item] = [
        {"id": 1},
        {"id": 1, "at": None},
        {"id": 1, "at": 1_700_000_000},
        {"id": 1, "at": "2024-01-01"},
        {"id": 1, "at": "2024-01-01T00:00:00"},
        {"id": 1, "at": datetime(2024, 1, 1)},  # noqa: DTZ001 -- naive on purpose
        {"id": 1, "at": "yesterday"},
    ]
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]), until=minute(1))
        for item in bad:
            async for window in lease.windows(KEY[2], since=minute(0), at="at"):
                with refused(place, UsageError, "at"):
                    await commit_all(place, window, one_page([item]))
                break


async def check_a_key_callable_that_fails_is_named(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source([]), until=minute(1))
        async for window in lease.windows(KEY[2], since=minute(0)):
            async for page in window.pages(Source(events(3)).fetch):
                for key in (lambda item: item["nothing"], "user.id", "a..b", ""):
                    with refused(place, UsageError):
                        async with page.commit() as tx:
                            await tx.fresh(page.items, key=key)
                break


async def check_the_users_own_statements(place: AsyncPlace) -> None:
    store = await opened(place)
    assert (await store.execute("SELECT 1")).rows == [(1,)]
    await store.execute(place.sql("INSERT INTO effect (id) VALUES (?)"), ["x"])
    assert effects(place) == ["x"]
    for statement in ("nonsense", "SELECT * FROM no_such_table"):
        with refused(place, SqlError):
            await store.execute(statement)
    for statement in ("BEGIN", "COMMIT", "rollback"):
        with refused(place, UsageError):
            await store.execute(statement)
    with refused(place, SqlError):
        await store.execute(place.sql("INSERT INTO effect (id) VALUES (?)"), ["\ud800"])


async def check_a_transaction_of_the_users_own_stands_or_falls_as_one(place: AsyncPlace) -> None:
    store = await opened(place)
    insert = place.sql("INSERT INTO effect (id) VALUES (?)")
    async with store.transaction() as tx:
        await tx.execute(insert, ["a"])
        await tx.executemany(insert, [["b"], ["c"]])
        await tx.send("mail", {}, key="a")
    with raises(ZeroDivisionError):
        async with store.transaction() as tx:
            await tx.execute(insert, ["undone"])
            raise ZeroDivisionError
    async with store.transaction():
        pass  # nothing was begun, nothing is to be ended
    assert effects(place) == ["a", "b", "c"]
    assert [message.key for message in await store.undelivered("mail")] == ["a"]
    with refused(place, UsageError, "ended"):
        await tx.execute(insert, ["too late"])
    async with store.transaction(read_only=True) as tx:
        assert (await tx.execute("SELECT COUNT(*) FROM effect")).rows == [(3,)]


@needs("stores")
async def check_a_transaction_that_reads_sees_one_moment(place: AsyncPlace) -> None:
    store, other = await opened(place), await place.open()
    count = "SELECT COUNT(*) FROM effect"
    async with store.transaction(read_only=True) as tx:
        assert (await tx.execute(count)).rows == [(0,)]
        if store.dialect == "postgres":  # in SQLite it depends on the journal whether he may
            await other.execute("INSERT INTO effect (id) VALUES ('x')")
        assert (await tx.execute(count)).rows == [(0,)]
    await other.execute("INSERT INTO effect (id) VALUES ('y')")
    async with store.transaction(read_only=True) as tx:
        assert (await tx.execute(count)).rows == [(1 + (store.dialect == "postgres"),)]


@needs("stores")
async def check_a_closed_store_says_so(place: AsyncPlace) -> None:
    await opened(place)
    store = await place.open()
    lease = store.lease(*KEY[:2])
    await store.aclose()
    await store.aclose()
    with refused(place, StoreClosed, "open"):
        await store.load(KEY)
    with refused(place, StoreClosed, "open"):
        await store.save(KEY, 1)
    with refused(place, StoreClosed, "open"):
        await lease.acquire()


@needs("stores")
async def check_a_store_may_be_closed_with_its_lease_held(place: AsyncPlace) -> None:
    await opened(place)
    store = await place.open()
    with refused(place, StoreClosed, "open"):
        lease = store.lease(*KEY[:2])
        place_before = place.dump()
        await store.aclose()
        assert place.dump() == place_before
        async with lease:
            pass
