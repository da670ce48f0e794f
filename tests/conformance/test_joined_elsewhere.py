"""Joining what can't be joined: another database, another colour, no transaction."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import aiosqlite
import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

import belaypin
from tests.conformance.users import sqlalchemy_url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def test_another_dialect_is_refused(file: Path, postgres_url: str) -> None:
    with (
        belaypin.open(f"sqlite:///{file}") as store,
        psycopg.connect(postgres_url) as connection,
        pytest.raises(belaypin.UsageError, match="same database"),
    ):
        store.joined(connection)
    engine = sqlalchemy.create_engine(sqlalchemy_url(str(file)))
    with (
        belaypin.open(postgres_url) as store,
        engine.connect() as other,
        pytest.raises(belaypin.UsageError, match="same database"),
    ):
        store.joined(other)
    engine.dispose()


async def test_another_colour_is_refused(file: Path, postgres_url: str) -> None:
    sync_store = belaypin.open(f"sqlite:///{file}")
    async_store = await belaypin.aopen(f"sqlite:///{file}")
    plain = sqlite3.connect(file)
    async with aiosqlite.connect(file) as connection:
        with pytest.raises(belaypin.UsageError, match="aopen"):
            sync_store.joined(connection)
        with pytest.raises(belaypin.UsageError, match=r"open\("):
            async_store.joined(plain)
    async_engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with async_engine.connect() as async_connection:
        with pytest.raises(belaypin.UsageError, match="aopen"):
            sync_store.joined(async_connection)
    await async_engine.dispose()
    async with await psycopg.AsyncConnection.connect(postgres_url) as psycopg_connection:
        with (
            belaypin.open(postgres_url) as store,
            pytest.raises(belaypin.UsageError, match="aopen"),
        ):
            store.joined(psycopg_connection)
    plain.close()
    sync_store.close()
    await async_store.aclose()


@pytest.mark.parametrize("other_is_a_store", [False, True])
def test_another_file_is_refused(file: Path, tmp_path: Path, other_is_a_store: bool) -> None:
    """Also where it happens to hold a store of its own: it is not this one."""
    other = tmp_path / "other.db"
    if other_is_a_store:
        belaypin.open(f"sqlite:///{other}").close()
    connection = sqlite3.connect(other)
    with belaypin.open(f"sqlite:///{file}") as store:
        with pytest.raises((belaypin.UsageError, belaypin.SqlError)):
            store.joined(connection).save("p", 1)
        connection.commit()
    connection.close()
    if other_is_a_store:
        with belaypin.open(f"sqlite:///{other}") as another:
            assert another.load("p") is None


def test_autocommit_has_no_transaction_to_join(postgres_url: str) -> None:
    with (
        belaypin.open(postgres_url) as store,
        psycopg.connect(postgres_url, autocommit=True) as connection,
    ):
        with pytest.raises(belaypin.UsageError, match="autocommit"):
            store.joined(connection).save("p", 1)
        assert store.load("p") is None
        with connection.transaction():
            assert store.joined(connection).save("p", 1) == 1
            assert store.load("p") is None
        assert store.load("p") is not None
        engine = sqlalchemy.create_engine(
            sqlalchemy_url(postgres_url), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as other, pytest.raises((belaypin.UsageError, belaypin.SqlError)):
            store.joined(other).save("q", 1)
        engine.dispose()
        assert store.load("q") is None


def test_sqlite_autocommit_is_begun(file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    with belaypin.open(f"sqlite:///{file}") as store:
        assert store.joined(connection).save("p", 1) == 1
        assert connection.in_transaction
        assert store.load("p") is None
        connection.rollback()
        assert store.load("p") is None
        store.joined(connection).save("p", 1)
        connection.execute("COMMIT")
        assert store.load("p") is not None
    connection.close()


def test_a_scoped_session_is_a_session(file: Path) -> None:
    from sqlalchemy.orm import scoped_session, sessionmaker

    engine = sqlalchemy.create_engine(sqlalchemy_url(str(file)))
    session = scoped_session(sessionmaker(engine))
    with belaypin.open(f"sqlite:///{file}") as store:
        store.joined(session).save("p", 1)
        session.commit()
        assert store.load("p") is not None
        session.remove()
    engine.dispose()


def test_a_closed_connection_says_so(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.close()
    with belaypin.open(f"sqlite:///{file}") as store:
        with pytest.raises(belaypin.BelaypinError):
            store.joined(connection).save("p", 1)
        assert store.load("p") is None
