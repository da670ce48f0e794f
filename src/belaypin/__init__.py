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

from importlib import import_module
from typing import TYPE_CHECKING, Any

from belaypin.clock import Clock
from belaypin.components import Checkpointable
from belaypin.dictionaries import DictionaryReport
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
from belaypin.fields import check_count
from belaypin.fingerprint import canonical, fingerprint
from belaypin.keys import Key
from belaypin.membership import LIMIT_ITEMS
from belaypin.retry import Retry
from belaypin.schema import KEPT_VERSIONS, Schema
from belaypin.tracing import check_tracer
from belaypin.urls import Target, parse_url

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from belaypin._async.change import AsyncChange
    from belaypin._async.commit import AsyncCommit
    from belaypin._async.joined import AsyncJoined
    from belaypin._async.lease import AsyncLease
    from belaypin._async.live import AsyncBatch, AsyncLive
    from belaypin._async.once import AsyncOnce
    from belaypin._async.store import AsyncStore
    from belaypin._async.trial import AsyncTrial
    from belaypin._async.window import AsyncPage, AsyncWindow
    from belaypin._async.work import AsyncWork
    from belaypin._async.writer import AsyncWriter
    from belaypin._sync.change import Change
    from belaypin._sync.commit import Commit
    from belaypin._sync.joined import Joined
    from belaypin._sync.lease import Lease
    from belaypin._sync.live import Batch, Live
    from belaypin._sync.once import Once
    from belaypin._sync.store import Store
    from belaypin._sync.trial import Trial
    from belaypin._sync.window import Page, Window
    from belaypin._sync.work import Work
    from belaypin._sync.writer import Writer
    from belaypin.backends.base import AsyncBackend, Backend, Mode, Result
    from belaypin.pipeline.definition import Pipeline
    from belaypin.pipeline.report import RunReport
    from belaypin.records.checkpoints import (
        AuditEntry,
        Checkpoint,
        Interval,
        Original,
        StateChange,
        StateFailure,
        UpcastReport,
    )
    from belaypin.records.compaction import CompactReport
    from belaypin.records.drill import Drill
    from belaypin.records.explanation import Explanation, Placed
    from belaypin.records.failure import Failure, FailureGroup, FailureGroups
    from belaypin.records.health import Health
    from belaypin.records.history import (
        Difference,
        Forked,
        Imported,
        Rewound,
        RewoundStream,
        Savepoint,
        Version,
    )
    from belaypin.records.listing import (
        Count,
        EntityRow,
        GapRow,
        ItemRow,
        LeaseRow,
        Listing,
        OperationRow,
        Storage,
        Stored,
        StreamRow,
        WindowRow,
    )
    from belaypin.records.message import Delivery, Message
    from belaypin.records.operation import Attempt, Operation
    from belaypin.records.plan import Outcome, Plan, RecoveryReport, Step
    from belaypin.records.reports import Finding, MigrationStep, Report
    from belaypin.records.retention import Dropped, GcReport, Retention
    from belaypin.records.status import Status
    from belaypin.records.writer_reports import LossBound, WriterFailure, WriterReport

__all__ = [
    "AsyncBatch",
    "AsyncChange",
    "AsyncCommit",
    "AsyncJoined",
    "AsyncLease",
    "AsyncLive",
    "AsyncOnce",
    "AsyncPage",
    "AsyncStore",
    "AsyncTrial",
    "AsyncWindow",
    "AsyncWork",
    "AsyncWriter",
    "Attempt",
    "AuditEntry",
    "Batch",
    "BelaypinError",
    "Change",
    "Checkpoint",
    "Checkpointable",
    "Clock",
    "Commit",
    "CompactReport",
    "CorruptRecord",
    "Count",
    "Delivery",
    "DictionaryReport",
    "Difference",
    "Drill",
    "Dropped",
    "EntityRow",
    "Explanation",
    "Failure",
    "FailureGroup",
    "FailureGroups",
    "Fenced",
    "FetchError",
    "Finding",
    "Forked",
    "GapRow",
    "GcReport",
    "Health",
    "Imported",
    "Interval",
    "ItemRow",
    "Joined",
    "Key",
    "Lease",
    "LeaseHeld",
    "LeaseRow",
    "Listing",
    "Live",
    "LossBound",
    "Message",
    "MigrationStep",
    "MissingDriver",
    "NotCommitted",
    "Once",
    "Operation",
    "OperationRow",
    "OperationRunning",
    "Original",
    "Outcome",
    "Page",
    "Pipeline",
    "Placed",
    "Plan",
    "RecoveryReport",
    "Report",
    "RequestMismatch",
    "Result",
    "Retention",
    "Retry",
    "Rewound",
    "RewoundStream",
    "RunReport",
    "Savepoint",
    "Schema",
    "SchemaTooNew",
    "SqlError",
    "StateChange",
    "StateFailure",
    "Status",
    "Step",
    "Storage",
    "Store",
    "StoreBusy",
    "StoreClosed",
    "StoreFull",
    "StoreUnavailable",
    "Stored",
    "StreamRow",
    "Trial",
    "UpcastReport",
    "UsageError",
    "Version",
    "VersionConflict",
    "Window",
    "WindowRow",
    "Work",
    "Writer",
    "WriterFailure",
    "WriterReport",
    "__version__",
    "aopen",
    "canonical",
    "fingerprint",
    "migrations",
    "open",
]

__version__ = "0.1.0"


def open(
    url: str,
    *,
    clock: Clock | None = None,
    ledger_items: int = LIMIT_ITEMS,
    history: int = KEPT_VERSIONS,
    cache: str | None = None,
    create: bool = True,
    read_only: bool = False,
    tracer: Tracer | None = None,
) -> Store:
    """Open the store at ``url``, making its tables if need be; close it, or use it in a ``with``.

    ``sqlite:///app.db`` is a file in the working directory, ``sqlite:///:memory:`` lives as long
    as the store is open, ``postgresql:///app`` is a database that exists. ``ledger_items``: ids
    that each stream may keep in memory. ``history``: states of each Key that are kept when others
    replace them (0: none), see ``store.history``. ``clock`` replaces the database's clock, for tests.
    ``cache``: the URL of a Redis (``redis://host:6379/0``) that takes item checks (``seen``) off
    the database; without it, and with whatever goes wrong there, the answers are the same.
    ``create=False`` refuses a database without a store in it (a mistyped URL, say), and leaves it
    as it is. ``read_only`` writes nothing whatever is called, makes no tables and moves none on.
    ``tracer``: of OpenTelemetry; leases, windows, pages and commits become spans of it.

    Raises UsageError for a URL that is none, or a store that is not there or behind where it may
    not be made or moved on, MissingDriver if an extra is to be installed,
    StoreUnavailable if the database can't be reached, SchemaTooNew if a newer belaypin made it.
    """
    from belaypin._sync.store import Store

    check_count("history", history, at_least=0)
    check_tracer(tracer)
    mode = _mode(create=create, read_only=read_only)
    backend = _backend(_target(url, mode), clock, mode)
    store = Store(backend, limit_items=ledger_items, history=history, tracer=tracer)
    try:
        store._migrate(create=create, read_only=read_only)
        if cache is not None:
            store._use_cache(cache, read_only=read_only)
    except BaseException:
        store.close()
        raise
    return store


async def aopen(
    url: str,
    *,
    clock: Clock | None = None,
    ledger_items: int = LIMIT_ITEMS,
    history: int = KEPT_VERSIONS,
    cache: str | None = None,
    create: bool = True,
    read_only: bool = False,
    tracer: Tracer | None = None,
) -> AsyncStore:
    """``open`` for asyncio: the same store, its methods awaited."""
    from belaypin._async.store import AsyncStore

    check_count("history", history, at_least=0)
    check_tracer(tracer)
    mode = _mode(create=create, read_only=read_only)
    backend = await _async_backend(_target(url, mode), clock, mode)
    store = AsyncStore(backend, limit_items=ledger_items, history=history, tracer=tracer)
    try:
        await store._migrate(create=create, read_only=read_only)
        if cache is not None:
            await store._use_cache(cache, read_only=read_only)
    except BaseException:
        await store.aclose()
        raise
    return store


def migrations(url: str) -> list[MigrationStep]:
    """The migrations that the store at ``url`` still needs, each with its SQL; changes nothing.

    All of them if there is no store yet, none if it is up to date. ``belaypin.open`` applies them,
    one transaction each; or run the ``sql`` of each, in order, as whoever may make tables.

    Raises SchemaTooNew if a newer belaypin made the store, and what ``open`` raises.

    >>> [step.name for step in migrations("sqlite:///nowhere.db")][:2]
    ['initial', 'originals']
    """
    from belaypin.catalog import migrations as steps_of
    from belaypin.migrate import scripts
    from belaypin.programs.migrations import pending

    target = parse_url(url)
    steps = steps_of(target.dialect)
    if _is_missing(target):
        return scripts(target.dialect, steps)
    backend = _backend(target, None, "ro")
    try:
        with backend.transaction(write=False) as transaction:
            missing = {step.version for step in transaction.run(pending(steps))}
    finally:
        backend.close()
    return scripts(target.dialect, [step for step in steps if step.version in missing])


def _mode(*, create: bool, read_only: bool) -> Mode:
    return "ro" if read_only else "rwc" if create else "rw"


def _target(url: str, mode: Mode) -> Target:
    target = parse_url(url)
    if _is_missing(target) and mode != "rwc":
        raise UsageError(
            f"There is no store at {url}. Check the path, which begins in the working directory; "
            f"`belaypin init` makes a store."
        )
    return target


def _is_missing(target: Target) -> bool:
    from pathlib import Path

    return target.dialect == "sqlite" and not Path(target.address).exists()


def _backend(target: Target, clock: Clock | None, mode: Mode = "rwc") -> Backend:
    pinned_clock = clock.now_us if clock is not None else None
    if target.dialect == "sqlite":
        from belaypin.backends.sqlite import SqliteBackend

        return SqliteBackend(target.address, pinned_clock=pinned_clock, mode=mode)
    _require_psycopg()
    from belaypin.backends._sync.postgres import PostgresBackend

    backend = PostgresBackend(target.address, pinned_clock=pinned_clock, read_only=mode == "ro")
    backend.open()
    return backend


async def _async_backend(target: Target, clock: Clock | None, mode: Mode) -> AsyncBackend:
    pinned_clock = clock.now_us if clock is not None else None
    if target.dialect == "sqlite":
        from belaypin.backends.sqlite import SqliteBackend
        from belaypin.backends.threaded import AsyncSqliteBackend

        return AsyncSqliteBackend(
            SqliteBackend(target.address, pinned_clock=pinned_clock, mode=mode)
        )
    _require_psycopg()
    from belaypin.backends._async.postgres import AsyncPostgresBackend

    backend = AsyncPostgresBackend(
        target.address, pinned_clock=pinned_clock, read_only=mode == "ro"
    )
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


# What users hold is imported when it is asked for: asyncio alone takes 50 ms.
_HOMES = {
    "change": ("Change",),
    "commit": ("Commit",),
    "joined": ("Joined",),
    "lease": ("Lease",),
    "live": ("Batch", "Live"),
    "once": ("Once",),
    "store": ("Store",),
    "trial": ("Trial",),
    "window": ("Page", "Window"),
    "work": ("Work",),
    "writer": ("Writer",),
}
# So are pipelines, and the records that only some calls return.
_RECORDS = {
    "backends.base": ("Result",),
    "pipeline.definition": ("Pipeline",),
    "pipeline.report": ("RunReport",),
    "records.compaction": ("CompactReport",),
    "records.drill": ("Drill",),
    "records.explanation": ("Explanation", "Placed"),
    "records.failure": ("Failure", "FailureGroup", "FailureGroups"),
    "records.health": ("Health",),
    "records.history": (
        "Difference",
        "Forked",
        "Imported",
        "Rewound",
        "RewoundStream",
        "Savepoint",
        "Version",
    ),
    "records.listing": (
        "Count",
        "EntityRow",
        "GapRow",
        "ItemRow",
        "LeaseRow",
        "Listing",
        "OperationRow",
        "Storage",
        "Stored",
        "StreamRow",
        "WindowRow",
    ),
    "records.message": ("Delivery", "Message"),
    "records.operation": ("Attempt", "Operation"),
    "records.plan": ("Outcome", "Plan", "RecoveryReport", "Step"),
    "records.checkpoints": (
        "AuditEntry",
        "Checkpoint",
        "Interval",
        "Original",
        "StateChange",
        "StateFailure",
        "UpcastReport",
    ),
    "records.reports": ("Finding", "MigrationStep", "Report"),
    "records.retention": ("Dropped", "GcReport", "Retention"),
    "records.status": ("Status",),
    "records.writer_reports": ("LossBound", "WriterFailure", "WriterReport"),
}
_LAZY = {
    f"{prefix}{name}": f"belaypin.{package}.{module}"
    for prefix, package in (("", "_sync"), ("Async", "_async"))
    for module, names in _HOMES.items()
    for name in names
} | {name: f"belaypin.{module}" for module, names in _RECORDS.items() for name in names}

if not TYPE_CHECKING:  # so that a type checker refuses names that don't exist

    def __getattr__(name: str) -> Any:
        if name in _LAZY:
            return getattr(import_module(_LAZY[name]), name)
        raise AttributeError(f"module 'belaypin' has no attribute {name!r}")
