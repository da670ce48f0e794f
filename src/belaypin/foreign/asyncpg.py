"""A connection of asyncpg, inside ``connection.transaction()``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from belaypin.backends.base import Params, Result
from belaypin.catalog import Dialect, ParamStyle
from belaypin.errors import StoreUnavailable, UsageError
from belaypin.program import Rows

__all__ = ["Asyncpg"]


class Asyncpg:
    """A connection of asyncpg, or one that its pool has lent."""

    dialect: Dialect | None = "postgres"
    style: ParamStyle = "numeric_dollar"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def begin(self) -> None:
        """Make sure that a transaction is open that ends only when the user ends it."""
        if self._connection.is_closed():
            raise StoreUnavailable(
                "This connection of asyncpg is closed, and with it the transaction. Connect again, "
                "and run the transaction again."
            )
        if not self._connection.is_in_transaction():
            raise UsageError(
                "This connection of asyncpg has no transaction open (it commits each statement by "
                "itself), so there is nothing to join. Open one: `async with "
                "connection.transaction(): ...`."
            )

    async def query(self, sql: str, params: Params = ()) -> Rows:
        """Run one statement of belaypin's, from the connection's cache of prepared statements."""
        with self._in_our_words():
            return [tuple(row) for row in await self._connection.fetch(sql, *params)]

    async def execute(self, sql: str, params: Params) -> Result:
        """Run one statement, with ``$1`` for parameters as asyncpg has them."""
        with self._in_our_words():
            prepared = await self._connection.prepare(sql)  # only so it tells rows and count
            rows = await prepared.fetch(*params)
            count = prepared.get_statusmsg().rpartition(" ")[2]
        return Result([tuple(row) for row in rows], int(count) if count.isdigit() else -1)

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Of what the driver itself says: the server's errors are translated by their state."""
        try:
            yield
        except Exception as error:
            # The server's last word may meet the next call half-way, which asyncpg calls internal.
            is_lost = isinstance(error, OSError) or type(error).__name__ == "InternalClientError"
            if is_lost or self._connection.is_closed():
                raise StoreUnavailable(
                    f"The connection of asyncpg was lost ({error}), and with it the transaction. "
                    f"Connect again, and run the transaction again."
                ) from error
            raise
