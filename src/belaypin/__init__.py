"""belaypin: the checkpoint layer for data pipelines.

>>> import belaypin
>>> store = belaypin.open("sqlite:///:memory:")
>>> store.save(("shop", "user:7"), {"pages": 3})
1
>>> store.load(("shop", "user:7")).state
{'pages': 3}
>>> store.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from belaypin.errors import (
    BelaypinError,
    CorruptRecord,
    Fenced,
    FetchError,
    LeaseHeld,
    MissingDriver,
    NotCommitted,
    OperationRunning,
    RequestMismatch,
    SchemaTooNew,
    SqlError,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StoreUnavailable,
    UsageError,
    VersionConflict,
)
from belaypin.fingerprint import canonical, fingerprint
from belaypin.keys import Key
from belaypin.membership import LIMIT_ITEMS
from belaypin.records import Checkpoint, Interval
from belaypin.urls import Target, parse_url

if TYPE_CHECKING:
    from belaypin._async.store import AsyncStore
    from belaypin._sync.store import Store
    from belaypin.backends.base import AsyncBackend, Backend
    from belaypin.clock import Clock

__all__ = [
    "AsyncStore",
    "BelaypinError",
    "Checkpoint",
    "CorruptRecord",
    "Fenced",
    "FetchError",
    "Interval",
    "Key",
    "LeaseHeld",
    "MissingDriver",
    "NotCommitted",
    "OperationRunning",
    "RequestMismatch",
    "SchemaTooNew",
    "SqlError",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreFull",
    "StoreUnavailable",
    "UsageError",
    "VersionConflict",
    "__version__",
    "aopen",
    "canonical",
    "fingerprint",
    "open",
]

__version__ = "0.1.0"


def open(url: str, *, clock: Clock | None = None, ledger_items: int = LIMIT_ITEMS) -> Store:
    """Open the store at ``url``, making its tables if need be; close it, or use it in a ``with``.

    ``sqlite:///app.db`` is a file in the working directory, ``sqlite:///:memory:`` lives as long
    as the store is open, ``postgresql:///app`` is a database that exists. ``ledger_items``: ids
    that each stream may keep in memory. ``clock`` replaces the database's clock, for tests.

    Raises UsageError for a URL that is none, MissingDriver if an extra is to be installed,
    StoreUnavailable if the database can't be reached, SchemaTooNew if a newer belaypin made it.
    """
    from belaypin._sync.store import Store

    store = Store(_backend(parse_url(url), clock), limit_items=ledger_items)
    try:
        store._migrate()
    except BaseException:
        store.close()
        raise
    return store


async def aopen(
    url: str, *, clock: Clock | None = None, ledger_items: int = LIMIT_ITEMS
) -> AsyncStore:
    """``open`` for asyncio: the same store, its methods awaited."""
    from belaypin._async.store import AsyncStore

    backend = await _async_backend(parse_url(url), clock)
    store = AsyncStore(backend, limit_items=ledger_items)
    try:
        await store._migrate()
    except BaseException:
        await store.aclose()
        raise
    return store


def _backend(target: Target, clock: Clock | None) -> Backend:
    pinned_clock = clock.now_us if clock is not None else None
    if target.dialect == "sqlite":
        from belaypin.backends.sqlite import SqliteBackend

        return SqliteBackend(target.address, pinned_clock=pinned_clock)
    _require_psycopg()
    from belaypin.backends._sync.postgres import PostgresBackend

    backend = PostgresBackend(target.address, pinned_clock=pinned_clock)
    backend.open()
    return backend


async def _async_backend(target: Target, clock: Clock | None) -> AsyncBackend:
    pinned_clock = clock.now_us if clock is not None else None
    if target.dialect == "sqlite":
        from belaypin.backends.sqlite import SqliteBackend
        from belaypin.backends.threaded import AsyncSqliteBackend

        return AsyncSqliteBackend(SqliteBackend(target.address, pinned_clock=pinned_clock))
    _require_psycopg()
    from belaypin.backends._async.postgres import AsyncPostgresBackend

    backend = AsyncPostgresBackend(target.address, pinned_clock=pinned_clock)
    await backend.aopen()
    return backend


def _require_psycopg() -> None:
    from importlib.util import find_spec

    for name in ("psycopg", "psycopg_pool"):
        if find_spec(name) is None:
            raise MissingDriver(
                f"PostgreSQL needs {name}, which is not installed. Run: pip install "
                f"'belaypin[postgres]'"
            )


def __getattr__(name: str) -> Any:
    # Store and AsyncStore are imported when they are asked for: asyncio alone takes 50 ms.
    if name == "Store":
        from belaypin._sync.store import Store

        return Store
    if name == "AsyncStore":
        from belaypin._async.store import AsyncStore

        return AsyncStore
    raise AttributeError(f"module 'belaypin' has no attribute {name!r}")
