"""The databases that belaypin ships with, as places for the conformance suite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any

import belaypin
from belaypin.clock import Clock
from belaypin.testing.conformance import Need
from tests.conformance.outside import (
    Outside,
    PostgresOutside,
    SqliteOutside,
    connect_sqlite,
    sort_rows,
)
from tests.conformance.users import AsyncUser, User, async_users, users

__all__ = ["OFFERS", "LocalAsyncPlace", "LocalPlace"]

OFFERS: dict[str, tuple[Need, ...]] = {
    "file": ("stores", "joins"),
    "memory": (),
    "postgres": ("stores", "joins"),
}
"""Each database, and which needs of checks it fulfils."""

_MEMORY = "sqlite:///:memory:"


class _Seen:
    """A database as the oracle sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_memory = url == _MEMORY
        self._outside: Outside | None = None

    @property
    def address(self) -> str:
        """What drivers call the database."""
        return self.url.removeprefix("sqlite:///")

    def sql(self, text: str) -> str:
        return text.replace("?", "%s") if self.url.startswith("postgresql:") else text

    @property
    def outside(self) -> Outside:
        if self._outside is None:
            self._outside = (
                PostgresOutside(self.url)
                if self.url.startswith("postgresql:")
                else SqliteOutside(connect_sqlite(Path(self.address)))
            )
        return self._outside

    def look_through(self, connection: sqlite3.Connection) -> None:
        """A database in memory is seen through the connection that it lives in."""
        self._outside = SqliteOutside(connection, is_ours=False)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.outside.query(sql, params)

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        return {table: sort_rows(rows) for table, rows in self.outside.dump().items()}

    def forget(self) -> None:
        if self._outside is not None:
            self._outside.close()


class LocalPlace(_Seen):
    """One database for one sync check."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._stores: list[belaypin.Store] = []

    @property
    def users(self) -> Mapping[str, Callable[[], AbstractContextManager[User]]]:
        return {} if self.is_memory else users(self.address)

    def open(self, *, clock: Clock | None = None, ledger_items: int = 1000) -> belaypin.Store:
        if self.is_memory and self._stores:
            return self._stores[0]
        store = belaypin.open(self.url, clock=clock, ledger_items=ledger_items)
        self._stores.append(store)
        if self.is_memory:
            backend: Any = store._backend
            self.look_through(backend._idle[0])
        return store

    def close(self) -> None:
        self.forget()
        for store in self._stores:
            store.close()


class LocalAsyncPlace(_Seen):
    """One database for one async check."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._stores: list[belaypin.AsyncStore] = []

    @property
    def users(self) -> Mapping[str, Callable[[], AbstractAsyncContextManager[AsyncUser]]]:
        return {} if self.is_memory else async_users(self.address)

    async def open(
        self, *, clock: Clock | None = None, ledger_items: int = 1000
    ) -> belaypin.AsyncStore:
        if self.is_memory and self._stores:
            return self._stores[0]
        store = await belaypin.aopen(self.url, clock=clock, ledger_items=ledger_items)
        self._stores.append(store)
        if self.is_memory:
            backend: Any = store._backend
            self.look_through(backend._backend._idle[0])
        return store

    async def aclose(self) -> None:
        self.forget()
        for store in self._stores:
            await store.aclose()
