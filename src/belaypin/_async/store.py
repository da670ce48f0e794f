"""The store: everything that belaypin keeps, in one database; where leases come from."""

from __future__ import annotations

import asyncio  # sync: drop
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from belaypin._async.audit import AsyncAudit
from belaypin._async.browsing import AsyncBrowsing
from belaypin._async.checkup import AsyncCheckup
from belaypin._async.dictionaries import AsyncDictionaries
from belaypin._async.drills import AsyncDrills
from belaypin._async.exchange import AsyncExchange
from belaypin._async.failures import AsyncFailures
from belaypin._async.files import AsyncFiles
from belaypin._async.lease import AsyncLease
from belaypin._async.operations import AsyncOperations
from belaypin._async.outbox import AsyncOutbox
from belaypin._async.records import AsyncRecords, KeyLike
from belaypin._async.recovery import AsyncRecovery
from belaypin._async.retention import AsyncHousekeeping
from belaypin._async.travel import AsyncTravel
from belaypin._async.work import AsyncBlock
from belaypin._async.writers import AsyncWriters
from belaypin.backends.base import AsyncBackend, AsyncTransaction, Params, Result
from belaypin.catalog import Dialect, migrations
from belaypin.clock import unique_id
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.heartbeat import Heartbeat
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.membership import LIMIT_ITEMS
from belaypin.programs import facts
from belaypin.programs.migrations import apply, check_tables, epoch, pending
from belaypin.retry import Retry
from belaypin.schema import KEPT_VERSIONS, Schema
from belaypin.statements import refuse_transaction_control
from belaypin.times import Duration, duration_us

if TYPE_CHECKING:
    from belaypin._async.checks import AsyncChecks
    from belaypin._async.evolution import AsyncEvolution
    from belaypin._async.joined import AsyncJoined
    from belaypin.records.checkpoints import UpcastReport
    from belaypin.records.plan import Step

__all__ = ["AsyncStore"]

_MIN_TTL_US = 50_000
_STATES_PER_STEP = 100


class AsyncStore(
    AsyncRecords,
    AsyncRecovery,
    AsyncTravel,
    AsyncAudit,
    AsyncOperations,
    AsyncOutbox,
    AsyncFailures,
    AsyncBrowsing,
    AsyncCheckup,
    AsyncExchange,
    AsyncHousekeeping,
    AsyncDrills,
    AsyncWriters,
    AsyncDictionaries,
    AsyncFiles,
    AbstractAsyncContextManager["AsyncStore"],
):
    """A store in a database, made by ``belaypin.aopen(url)``. Close it, or use it in a ``with``."""

    def __init__(
        self,
        backend: AsyncBackend,
        *,
        limit_items: int = LIMIT_ITEMS,
        history: int = KEPT_VERSIONS,
        tracer: Any = None,
    ) -> None:
        self._backend = backend
        self._tracer = tracer
        self._limit_items = limit_items
        self._history = history
        self._heartbeat = Heartbeat(backend.side)
        self._writers = set()
        self._epoch = ""
        self._checks: AsyncChecks | None = None

    @property
    def dialect(self) -> Dialect:
        """Whose SQL your own statements are in: ``"sqlite"`` or ``"postgres"``."""
        return self._backend.dialect

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Drain the writers, close every connection. Leases still held end when their time is up."""
        try:
            await self._close_writers()
        finally:
            await asyncio.to_thread(self._heartbeat.stop)  # sync: self._heartbeat.stop()
            if self._checks is not None:
                await asyncio.to_thread(self._checks.close)  # sync: self._checks.close()
            await self._backend.aclose()

    def lease(
        self,
        pipeline: str,
        entity: str,
        *,
        role: str = "main",
        ttl_s: Duration = 30,
        wait_s: Duration = 0,
        retry: Retry | None = None,
    ) -> AsyncLease:
        """The exclusive right to advance an entity: ``with store.lease(...) as lease``.

        ``role``: leases of different roles (say "main" and "live") may be held at once and share
        the entity's streams. ``ttl_s``: seconds after which a holder that no longer renews counts
        as gone. A process that died on this same machine counts as gone at once. ``wait_s``:
        seconds to wait for another holder before LeaseHeld is raised. ``retry``: when a plan is to
        try the entity again if the block ends with an exception, see ``store.plan``.
        """
        ttl_us = duration_us(ttl_s, "ttl_s")
        if ttl_us < _MIN_TTL_US:
            raise UsageError("ttl_s must be at least 0.05: a heartbeat has to fit in three times.")
        key = Key(pipeline, entity)
        if not entity:
            raise UsageError("A lease needs an entity: store.lease('social', 'user:7').")
        try:
            Key(role)
        except UsageError as error:
            raise UsageError(f"The role {role!r} won't do: {error}") from error
        return AsyncLease(
            self._backend,
            self._heartbeat,
            key,
            role,
            ttl_us,
            duration_us(wait_s, "wait_s"),
            self._limit_items,
            Retry() if retry is None else retry,
            self._history,
            self._epoch,
            self._tracer,
        )

    def joined(self, connection: Any) -> AsyncJoined:
        """The store's reads and writes inside the open transaction of your own connection.

        Takes a connection of sqlite3, aiosqlite, psycopg or asyncpg, a connection or session of
        SQLAlchemy, or Django's ``connection``, in the colour of this store (sync or async). Raises
        UsageError for anything else.
        """
        from belaypin._async.joined import AsyncJoined

        return AsyncJoined(
            connection,
            self._backend.dialect,
            self._epoch,
            self._backend.pinned_clock,
            self._history,
        )

    async def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement of your own in a transaction of its own, such as CREATE TABLE."""
        refuse_transaction_control(sql)
        async with self._open() as transaction:
            return await transaction.execute(sql, params)

    def transaction(self, *, read_only: bool = False) -> AsyncBlock:
        """One transaction for statements of your own: ``with store.transaction() as tx``.

        It begins with the first statement and is committed when the block ends, or undone if that
        raises. ``read_only``: for reading alone; every statement sees the database as it was at the
        first one, and no writer is kept waiting. If the connection is lost while the block ends,
        StoreUnavailable does not say whether it was committed: write what may be written twice.
        """
        return AsyncBlock(partial(self._open, write=not read_only))

    async def upcast_states(
        self,
        pipeline: str,
        type: Any,
        schema: Schema,
        *,
        stream: str | None = None,
        dry_run: bool = True,
        after: KeyLike | None = None,
        limit: int | None = None,
        show: int = 100,
    ) -> UpcastReport:
        """Bring every older state of one kind to ``schema``, or say what that would do.

        A kind is what the entities of ``pipeline`` have at ``stream``, or themselves (None). Each
        state must be a ``type`` once it is upcast (``object``: any), or it is left and reported.
        It may run beside live workers, and be stopped anywhere: run it again to go on. ``limit``
        states are looked at, from the Key behind ``after``; ``show`` changes and failures are
        listed. What was replaced is kept until ``confirm_states``.
        """
        from belaypin.programs.evolution import Tally

        evolution = self._evolution(pipeline, stream, schema)
        check_count("limit", limit, at_least=1)
        check_count("show", show, at_least=0)
        after_entity = "" if after is None else evolution.kind.entity_of(Key.of(after))
        tally = Tally(evolution.kind, type, schema, show, dry_run=dry_run)
        return await evolution.upcast(tally, after_entity, limit)

    async def confirm_states(
        self, pipeline: str, schema: Schema, *, stream: str | None = None
    ) -> int:
        """Drop what ``schema`` (or an older one) replaced; returns how many originals that were.

        Do it once the new code has proven itself. States that have not reached ``schema``, and the
        originals of newer ones, are left alone; ``stream`` is as in ``upcast_states``.
        """
        return await self._evolution(pipeline, stream, schema).confirm(schema.version)

    async def _migrate(
        self, upto: int | None = None, *, create: bool = True, read_only: bool = False
    ) -> None:
        steps = migrations(self._backend.dialect)[:upto]
        missing = await self._run(pending(steps), write=False)
        check_tables(missing, steps, create=create, read_only=read_only)
        for step in missing:
            await self._run(apply(step, steps, unique_id()))
        self._epoch = await self._run(epoch(), write=False)

    async def _use_cache(self, url: str, *, read_only: bool = False) -> None:
        from belaypin._async.checks import AsyncChecks
        from belaypin.cache import Cache

        secret = await self._run(facts.secret(), write=False)
        if secret is None and read_only:
            return  # nobody has used a cache with this store yet, so there is nothing in it
        if secret is None:
            secret = await self._run(facts.make_secret(unique_id()))
        self._checks = AsyncChecks(Cache(url, self._epoch, secret), self._run)

    async def _committed(self, key: Key, ids: Sequence[ItemId]) -> Collection[ItemId]:
        if self._checks is None:
            return await super()._committed(key, ids)
        return await self._checks.committed(key, ids)

    def _open(self, *, write: bool = True) -> AbstractAsyncContextManager[AsyncTransaction]:
        return self._backend.transaction(write=write)

    def _lease_for(self, step: Step, ttl_s: Duration, retry: Retry | None) -> AsyncLease:
        assert step.key is not None
        lease = self.lease(*step.key.parts[:2], role=step.role, ttl_s=ttl_s, retry=retry)
        lease._taking.only_after = step.token
        return lease

    def _evolution(self, pipeline: str, stream: str | None, schema: object) -> AsyncEvolution:
        from belaypin._async.evolution import AsyncEvolution

        if not isinstance(schema, Schema):
            raise UsageError(f"schema must be a belaypin.Schema, not {describe(schema)}.")
        Key.of((pipeline, "entity") if stream is None else (pipeline, "entity", stream))
        return AsyncEvolution(self._open, pipeline, stream or "", _STATES_PER_STEP, self._history)

    def _heartbeat_for_once(self) -> Heartbeat | None:
        return self._heartbeat
