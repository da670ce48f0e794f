"""Where the checks take place: an empty database, seen through belaypin and from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from belaypin._async.store import AsyncStore
from belaypin.clock import Clock

__all__ = ["AsyncPlace", "AsyncUser"]


class AsyncUser(Protocol):
    """A user with a connection of their own, whose transactions ``store.joined`` can join."""

    @property
    def connection(self) -> Any:
        """What is passed to ``store.joined``."""

    async def execute(self, sql: str, params: Sequence[Any] = ()) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None: ...


class AsyncPlace(Protocol):
    """A database that is empty at first. Whoever made it closes it, with its stores."""

    @property
    def users(self) -> Mapping[str, Callable[[], AbstractAsyncContextManager[AsyncUser]]]:
        """Each kind of connection that ``store.joined`` takes, by name."""

    async def open(self, *, clock: Clock | None = None, ledger_items: int = 1000) -> AsyncStore:
        """A store on this database, with connections of its own if the place can offer that."""

    def sql(self, text: str) -> str:
        """A statement with ``?`` for parameters, as users write it for this database's driver."""

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, by other means than belaypin's."""

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, by other means than belaypin's; sorted."""
