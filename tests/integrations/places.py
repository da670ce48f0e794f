"""Places of the conformance suite whose users come with connections of other libraries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from itertools import count
from typing import Any

import asyncpg
import django
from django.conf import settings
from django.db import connections, transaction
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from tests.conformance import users
from tests.conformance.places import LocalAsyncPlace, LocalPlace

__all__ = ["AsyncpgPlace", "DjangoPlace", "asyncpg_url", "django_database"]

_ALIASES = count()


@contextmanager
def django_database(url: str, **options: Any) -> Iterator[str]:
    """The alias of a database of Django's, by the URL of a store in it."""
    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.dummy"}})
        django.setup()
    if url.startswith("postgresql:"):
        parts = conninfo_to_dict(url)
        names = {
            "NAME": "dbname",
            "USER": "user",
            "HOST": "host",
            "PORT": "port",
            "PASSWORD": "password",
        }
        where = {name: str(parts.get(part) or "") for name, part in names.items()}
        where["ENGINE"] = "django.db.backends.postgresql"
    else:
        where = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    alias = f"db{next(_ALIASES)}"
    connections.databases[alias] = {**connections.databases["default"], **where, "OPTIONS": options}
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.databases[alias]


class DjangoUser:
    """Inside ``atomic()`` from the first look at the connection to the commit, as a view is."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._atomic: Any = None

    @property
    def connection(self) -> Any:
        if self._atomic is None:
            self._atomic = transaction.atomic(using=self._alias)
            self._atomic.__enter__()
        return connections[self._alias]

    def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(sql.replace("?", "%s"), list(params))

    def commit(self) -> None:
        if self._atomic is not None:
            atomic, self._atomic = self._atomic, None
            atomic.__exit__(None, None, None)

    def rollback(self) -> None:
        if self._atomic is not None:
            transaction.set_rollback(True, using=self._alias)
            self.commit()


class DjangoPlace(LocalPlace):
    """A database whose users come with Django."""

    @property
    def users(self) -> Mapping[str, Callable[[], AbstractContextManager[users.User]]]:
        option: dict[str, Any] = {"server_side_binding": True}
        if self.url.startswith("sqlite:"):
            option = {"transaction_mode": "IMMEDIATE"}
        return {"django": self._user, f"django {option}": lambda: self._user(**option)}

    @contextmanager
    def _user(self, **options: Any) -> Iterator[Any]:
        with django_database(self.url, **options) as alias:
            user = DjangoUser(alias)
            yield user
            user.rollback()


class AsyncpgUser:
    """Inside a transaction at any time."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def begin(self) -> None:
        self._transaction = self.connection.transaction()
        await self._transaction.start()

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        await self.connection.execute(_numbered(sql, params), *params)

    async def commit(self) -> None:
        await self._transaction.commit()
        await self.begin()

    async def rollback(self) -> None:
        await self._transaction.rollback()
        await self.begin()


class SqlAlchemyUser(users.AsyncUser):
    """SQLAlchemy with asyncpg as its driver."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection, "?")

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> None:
        await super().execute(_numbered(sql, params), params)


class AsyncpgPlace(LocalAsyncPlace):
    """A PostgreSQL database whose users come with asyncpg, plain, from its pool or behind SQLAlchemy."""

    @property
    def users(self) -> Mapping[str, Callable[[], AbstractAsyncContextManager[users.AsyncUser]]]:
        return {
            "asyncpg": self._plain,
            "asyncpg pool": self._lent,
            "asyncpg sqlalchemy connection": lambda: self._through(lambda e: e.connect()),
            "asyncpg sqlalchemy session": lambda: self._through(AsyncSession),
        }

    @asynccontextmanager
    async def _plain(self) -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.url)
        user = AsyncpgUser(connection)
        await user.begin()
        try:
            yield user
        finally:
            await connection.close()

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[Any]:
        async with (
            asyncpg.create_pool(self.url, min_size=1) as pool,
            pool.acquire() as connection,
        ):
            user = AsyncpgUser(connection)
            await user.begin()
            yield user

    @asynccontextmanager
    async def _through(self, kind: Callable[[Any], Any]) -> AsyncIterator[Any]:
        engine = create_async_engine(asyncpg_url(self.url))
        try:
            async with kind(engine) as connection:
                yield SqlAlchemyUser(connection)
        finally:
            await engine.dispose()


def asyncpg_url(url: str) -> str:
    """A URL as SQLAlchemy wants it for asyncpg."""
    return url.replace("postgresql:", "postgresql+asyncpg:", 1)


def _numbered(sql: str, params: Sequence[Any]) -> str:
    for number in range(1, len(params) + 1):
        sql = sql.replace("?", f"${number}", 1)
    return sql
