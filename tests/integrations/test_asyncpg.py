"""Joining transactions of asyncpg: the real driver, alone, from its pool, and behind SQLAlchemy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest

import belaypin
from belaypin.testing import conformance
from tests.integrations.places import AsyncpgPlace

JOINED = [
    check for check in conformance.async_checks("joined") if "no_connection" not in str(check)
]


@pytest.fixture
async def place(postgres_url: str) -> AsyncIterator[AsyncpgPlace]:
    place = AsyncpgPlace(postgres_url)
    yield place
    await place.aclose()


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[belaypin.AsyncStore]:
    async with await belaypin.aopen(postgres_url) as store:
        yield store


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.mark.parametrize("check", JOINED, ids=str)
async def test_conformance(check: conformance.Check, place: AsyncpgPlace) -> None:
    await check(place)


async def test_without_a_transaction_there_is_nothing_to_join(
    store: belaypin.AsyncStore, connection: Any
) -> None:
    joined = store.joined(connection)
    with pytest.raises(belaypin.UsageError, match=r"connection.transaction\(\)"):
        await joined.save("p", 1)
    assert await store.load("p") is None
    async with connection.transaction():
        await joined.save("p", 1)
        assert await store.load("p") is None
    assert await store.load("p") is not None


async def test_an_inner_transaction_is_a_savepoint(
    store: belaypin.AsyncStore, connection: Any
) -> None:
    async with connection.transaction():
        joined = store.joined(connection)
        await joined.save("outer", 1)
        with suppress(ZeroDivisionError):
            async with connection.transaction():
                await joined.save("inner", 1)
                raise ZeroDivisionError
        async with connection.transaction():
            await joined.save("second", 1)
    assert await store.load("outer") is not None
    assert await store.load("inner") is None
    assert await store.load("second") is not None


async def test_statements_of_the_user_have_its_style(
    store: belaypin.AsyncStore, connection: Any
) -> None:
    insert = "INSERT INTO posts VALUES ($1, $2)"

    async def insert_one(once: belaypin.AsyncOnce, *params: Any) -> None:
        async with once as op:
            await op.tx.execute("DELETE FROM posts WHERE id = 3")
            await op.tx.execute(insert, params)

    await connection.execute("CREATE TABLE posts (id INT PRIMARY KEY, text TEXT)")
    async with connection.transaction():
        joined = store.joined(connection)
        async with joined.once("op") as op:
            assert (await op.tx.execute(insert, (1, "100%"))).rowcount == 1
            await op.tx.executemany(insert, [(2, "b"), (3, "c")])
            found = await op.tx.execute("SELECT id, text FROM posts WHERE id < $1 ORDER BY id", [3])
            assert found.fetchall() == [(1, "100%"), (2, "b")]
            created = await op.tx.execute("CREATE TABLE other (id INT)")
            assert created.rowcount == -1
        with pytest.raises(belaypin.SqlError, match="duplicate key") as caught:
            await insert_one(joined.once("other"), 1, "again")
        assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError)
        with pytest.raises(belaypin.SqlError):
            await insert_one(joined.once("third"), "no number", "text")
    assert await connection.fetchval("SELECT count(*) FROM posts") == 3


async def test_a_closed_connection_says_so(store: belaypin.AsyncStore, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    joined = store.joined(connection)
    await connection.close()
    with pytest.raises(belaypin.StoreUnavailable, match="closed"):
        await joined.save("p", 1)


async def test_a_lost_server_says_so(store: belaypin.AsyncStore, connection: Any) -> None:
    await connection.transaction().start()
    joined = store.joined(connection)
    await joined.save("p", 1)
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    await store.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(belaypin.StoreUnavailable):
        await joined.save("p", 2)
    assert await store.load("p") is None


def test_a_sync_store_refuses_it(postgres_url: str) -> None:
    class Connection(asyncpg.Connection):
        def __init__(self) -> None:
            pass

        def __del__(self) -> None:
            pass

    with belaypin.open(postgres_url) as store, pytest.raises(belaypin.UsageError, match=r"aopen"):
        store.joined(Connection())
