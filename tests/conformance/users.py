"""The users' own connections of every kind that ``store.joined`` takes, in both colours."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any

import aiosqlite
import psycopg
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

__all__ = ["async_users", "sqlalchemy_url", "users"]

Params = Sequence[Any]


class User:
    """A plain connection, or one of SQLAlchemy's."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection
        self._mark = mark

    def execute(self, sql: str, params: Params = ()) -> None:
        connection = self.connection
        if isinstance(connection, Session):
            connection = connection.connection()
        run = getattr(connection, "exec_driver_sql", None) or connection.execute
        run(sql.replace("?", self._mark), tuple(params))

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()


class AsyncUser:
    """The same, awaited."""

    def __init__(self, connection: Any, mark: str) -> None:
        self.connection = connection
        self._mark = mark

    async def execute(self, sql: str, params: Params = ()) -> None:
        connection = self.connection
        if isinstance(connection, AsyncSession):
            connection = await connection.connection()
        run = getattr(connection, "exec_driver_sql", None) or connection.execute
        await run(sql.replace("?", self._mark), tuple(params))

    async def commit(self) -> None:
        await self.connection.commit()

    async def rollback(self) -> None:
        await self.connection.rollback()


def sqlalchemy_url(address: str) -> str:
    """The address of a file or server as SQLAlchemy wants it."""
    if address.startswith("postgresql:"):
        return address.replace("postgresql:", "postgresql+psycopg:", 1)
    return f"sqlite:///{address}"


def users(address: str) -> Mapping[str, Callable[[], AbstractContextManager[User]]]:
    """Every kind of sync user of the file or server at ``address``."""
    is_postgres = address.startswith("postgresql:")
    mark = "%s" if is_postgres else "?"

    @contextmanager
    def plain() -> Iterator[User]:
        connection: Any
        connection = psycopg.connect(address) if is_postgres else sqlite3.connect(address)
        try:
            yield User(connection, mark)
        finally:
            connection.close()

    @contextmanager
    def through_sqlalchemy(kind: Callable[[sqlalchemy.Engine], Any]) -> Iterator[User]:
        engine = sqlalchemy.create_engine(sqlalchemy_url(address))
        try:
            with kind(engine) as connection:
                yield User(connection, mark)
        finally:
            engine.dispose()

    return {
        "psycopg" if is_postgres else "sqlite3": plain,
        "sqlalchemy connection": lambda: through_sqlalchemy(lambda engine: engine.connect()),
        "sqlalchemy session": lambda: through_sqlalchemy(Session),
    }


def async_users(address: str) -> Mapping[str, Callable[[], AbstractAsyncContextManager[AsyncUser]]]:
    """Every kind of async user of the file or server at ``address``."""
    is_postgres = address.startswith("postgresql:")
    mark = "%s" if is_postgres else "?"

    @asynccontextmanager
    async def plain() -> AsyncIterator[AsyncUser]:
        connection: Any
        if is_postgres:
            connection = await psycopg.AsyncConnection.connect(address)
        else:
            connection = await aiosqlite.connect(address)
        try:
            yield AsyncUser(connection, mark)
        finally:
            await connection.close()

    @asynccontextmanager
    async def through_sqlalchemy(kind: Callable[[Any], Any]) -> AsyncIterator[AsyncUser]:
        url = sqlalchemy_url(address).replace("sqlite:", "sqlite+aiosqlite:", 1)
        engine = create_async_engine(url)
        try:
            async with kind(engine) as connection:
                assert isinstance(connection, AsyncConnection | AsyncSession)
                yield AsyncUser(connection, mark)
        finally:
            await engine.dispose()

    return {
        "psycopg" if is_postgres else "aiosqlite": plain,
        "sqlalchemy connection": lambda: through_sqlalchemy(lambda engine: engine.connect()),
        "sqlalchemy session": lambda: through_sqlalchemy(AsyncSession),
    }
