"""A database for one test: stores of either colour, both awaited, and a look from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime
from typing import Any, Literal

import psycopg
from opentelemetry.trace import Tracer

import belaypin

__all__ = ["Awaited", "Colour", "Database", "FixedClock", "Site"]

Colour = Literal["sync", "async"]
Database = Literal["file", "memory", "postgres"]

MEMORY = "sqlite:///:memory:"
START = datetime(2024, 1, 1, tzinfo=UTC)


class Awaited:
    """The sync side in the words of the async side, so that each test is written once."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        return Awaited(found) if callable(found) or name == "tx" else found

    def __call__(self, *args: Any, **options: Any) -> Awaited:
        unwrapped = [arg._thing if isinstance(arg, Awaited) else arg for arg in args]
        return Awaited(self._thing(*unwrapped, **options))

    def __bool__(self) -> bool:
        return bool(self._thing)

    def __await__(self) -> Generator[None, None, Any]:
        yield from ()
        return self._thing

    async def __aenter__(self) -> Awaited:
        return Awaited(self._thing.__enter__())

    async def __aexit__(self, *error: Any) -> bool | None:
        suppresses: bool | None = self._thing.__exit__(*error)
        return suppresses

    async def __aiter__(self) -> AsyncIterator[Awaited]:
        for each in self._thing:
            yield Awaited(each)


class FixedClock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.us = int(START.timestamp()) * 1_000_000

    def now_us(self) -> int:
        return self.us

    def advance(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


class Site:
    """An empty database. A store in memory is the only one there is."""

    def __init__(self, url: str, colour: Colour) -> None:
        self.url = url
        self.colour = colour
        self._stores: list[Any] = []
        self._outside: psycopg.Connection[Any] | None = None

    @property
    def is_memory(self) -> bool:
        return self.url == MEMORY

    async def open(
        self,
        *,
        clock: FixedClock | None = None,
        cache: str | None = None,
        tracer: Tracer | None = None,
    ) -> Any:
        """A store of this site's colour, its methods awaited."""
        if self.is_memory and self._stores:
            return self._stores[0]
        if self.colour == "async":
            store: Any = await belaypin.aopen(self.url, clock=clock, cache=cache, tracer=tracer)
        else:
            store = Awaited(belaypin.open(self.url, clock=clock, cache=cache, tracer=tracer))
        self._stores.append(store)
        return store

    def user(self) -> AbstractContextManager[Any]:
        """A plain connection of a user's own."""
        if self.url.startswith("postgresql"):
            return closing(psycopg.connect(self.url))
        return closing(sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30))

    async def query(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement by plain drivers; only what is in memory has to be asked through us."""
        if self.is_memory:
            return list((await self._stores[0].execute(sql, params)).rows)
        if self.url.startswith("postgresql"):
            cursor: Any = self._connected().execute(sql.replace("?", "%s"), params or None)
            return cursor.fetchall() if cursor.description else []
        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            return connection.execute(sql, params).fetchall()

    async def dump(self) -> list[list[tuple[Any, ...]]]:
        """Every row that schemas and components write."""
        tables = ("belaypin_checkpoint", "belaypin_original", "belaypin_segment")
        return [sorted(await self.query(f"SELECT * FROM {t}"), key=repr) for t in tables]

    def _connected(self) -> psycopg.Connection[Any]:
        """One for all queries, unless the server has ended it."""
        if self._outside is None or self._outside.closed:
            self._outside = psycopg.connect(self.url, autocommit=True)
        return self._outside

    async def close(self) -> None:
        if self._outside is not None:
            self._outside.close()
        for store in self._stores:
            await store.aclose() if self.colour == "async" else store.close()
