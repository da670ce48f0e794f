"""Operations: run something once under a stable id, whoever asks and however often."""

from __future__ import annotations

import asyncio  # sync: from belaypin.clock import sleep_s
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Self, TypeGuard

from belaypin._async.work import AsyncWork, OpenTransaction
from belaypin.backends.base import AsyncTransaction
from belaypin.clock import jitter, monotonic_s, unique_id
from belaypin.codec import decode_frame, dump_state, encode_frame, load_state
from belaypin.errors import (
    BelaypinError,
    OperationRunning,
    StoreBusy,
    StoreUnavailable,
    UsageError,
)
from belaypin.heartbeat import Beat, Heartbeat
from belaypin.mishaps import Mishap
from belaypin.process import is_surely_dead, owner_name
from belaypin.program import Program
from belaypin.programs import operations
from belaypin.programs.operations import Claim, OperationRow

__all__ = ["AsyncOnce"]

_POLL_S = (0.02, 0.25)
_ROW_WAIT_S = (0.25, 1.0)  # so long for a locked row: time for a COMMIT, not for one that stands
_OUTCOME_LOOKS = 5
_OUTCOME_PAUSE_S = 0.5


class AsyncOnce(AbstractAsyncContextManager["AsyncOnce"]):
    """Truthy if the operation is ours to run now; falsy if it was done before: read ``result``.

    What you write with ``tx``, and the ``result`` that you set, are committed together with the
    fact that the operation is done. Effects outside the database happen at least once: send them
    ``operation_id``, which is the same on every attempt. If the block ends with an exception, the
    attempt and its error are kept (``store.operation``), and the next call runs it again.
    """

    def __init__(
        self,
        open_transaction: OpenTransaction,
        heartbeat: Heartbeat | None,
        operation_id: str,
        request: str | None,
        ttl_us: int,
        wait_us: int,
        result_ttl_us: int | None = None,
    ) -> None:
        self.operation_id = operation_id
        self.result: Any = None
        """What the operation returned: set it in the block; read it when it was done before."""
        self.result_expired = False
        """Whether it was done before, and its result is kept no longer; it is not run again."""
        self.attempt = 0
        self._open_transaction = open_transaction
        self._heartbeat = heartbeat
        self._request = request
        self._ttl_us = ttl_us
        self._wait_us = wait_us
        self._result_ttl_us = result_ttl_us
        self._result_type: Any = object
        self._claim: Claim | None = None
        self._beat: Beat | None = None
        self._work = _OnceWork(open_transaction, self)

    def __bool__(self) -> bool:
        return self._claim is not None

    @property
    def tx(self) -> AsyncWork:
        """The transaction that commits the operation together with what you write in it."""
        if self._claim is None:
            raise UsageError(
                f"Operation {self.operation_id!r} was done before, so there is nothing to write: "
                f"use `if op:`, and op.result otherwise."
            )
        return self._work

    async def __aenter__(self) -> Self:
        owner = owner_name(unique_id())
        try:
            found = await self._take(owner)
        except asyncio.CancelledError:  # sync: except KeyboardInterrupt:
            # It may be ours without anybody knowing: nobody would run it.
            async with self._open_transaction() as transaction:
                await transaction.run(
                    operations.abandon(self.operation_id, owner, "interrupted before it began")
                )
            raise
        if isinstance(found, Claim):
            self._begin(found)
        else:
            self._read_result(found)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        claim = self._claim
        if claim is None:
            return
        try:
            if error is None:
                await self._complete(claim)
                return
        except BaseException as failure:
            await self._work._end(failure)
            await self._fail(claim, failure)
            raise
        finally:
            if self._beat is not None and self._heartbeat is not None:
                self._heartbeat.remove(self._beat)
        await self._work._end(error)
        await self._fail(claim, error)

    def _begin(self, claim: Claim) -> None:
        self._claim, self.attempt = claim, claim.attempt
        if self._heartbeat is not None:
            self._beat = self._heartbeat.add(
                lambda: operations.renew(claim), lambda: None, self._ttl_us / 1_000_000
            )

    def _read_result(self, row: OperationRow) -> None:
        self.result_expired = row.is_result_expired
        if row.result is not None:
            frame = decode_frame(row.result, what=f"result of operation {self.operation_id!r}")
            self.result = load_state(frame.raw, self._result_type)

    async def _take(self, owner: str) -> Claim | OperationRow:
        deadline_s = monotonic_s() + self._wait_us / 1_000_000
        while True:
            found = await self._try(owner, None)
            if _is_running(found) and is_surely_dead(found.owner):
                found = await self._try(owner, found.owner)
            if found is not None and not _is_running(found):
                return found
            await self._wait(found, deadline_s)

    async def _try(self, owner: str, dead_owner: str | None) -> Claim | OperationRow | None:
        """Claim it, or see how it stands; None if somebody else is just about to claim it."""
        begun = False
        found: Claim | OperationRow | None = None
        try:
            async with self._open_transaction() as transaction:
                begun = True
                found = await transaction.run(self._claiming(owner, dead_owner))
        except (StoreUnavailable, StoreBusy) as error:
            if isinstance(found, Claim):
                return await self._claimed_after_all(owner, dead_owner, error)
            if found is None and not (begun and isinstance(error, StoreBusy)):
                raise
            if found is None:
                # Its row is locked: by who works on it as a rule, in a transaction of his own.
                found = await self._look()
        return found

    def _claiming(self, owner: str, dead_owner: str | None) -> Program[Claim | OperationRow]:
        least_s, most_s = _ROW_WAIT_S
        wait_s = min(max(self._wait_us / 1_000_000, least_s), most_s)
        wait_ms = None if self._heartbeat is None else int(wait_s * 1000)
        return operations.claim(
            self.operation_id, self._request, owner, self._ttl_us, dead_owner, wait_ms
        )

    async def _claimed_after_all(
        self, owner: str, dead_owner: str | None, error: BelaypinError
    ) -> Claim | OperationRow:
        """Claim again when the answer to a COMMIT was lost: if it took place the row has our name.

        To claim, rather than to read, waits for a COMMIT that is still on its way.
        """
        for _ in range(_OUTCOME_LOOKS):
            try:
                async with self._open_transaction() as transaction:
                    found = await transaction.run(self._claiming(owner, dead_owner))
            except (StoreUnavailable, StoreBusy):
                await asyncio.sleep(_OUTCOME_PAUSE_S)  # sync: sleep_s(_OUTCOME_PAUSE_S)
                continue
            if _is_running(found) and found.owner == owner:
                return Claim(self.operation_id, owner, found.token, found.attempts)
            return found
        raise error

    async def _look(self) -> OperationRow | None:
        async with self._open_transaction(write=False) as transaction:
            row = await transaction.run(operations.look(self.operation_id, self._request))
        return None if row is None or row.status == "failed" else row

    async def _complete(self, claim: Claim) -> None:
        frame = encode_frame(dump_state(self.result))
        await self._work._run(operations.complete(claim, frame, self._result_ttl_us))
        try:
            await self._work._end()
        except (StoreUnavailable, StoreBusy):
            if not await self._came_through(claim):
                raise

    async def _came_through(self, claim: Claim) -> bool:
        """Whether a COMMIT whose answer was lost took place: is it done, and by us?"""
        for _ in range(_OUTCOME_LOOKS):
            try:
                async with self._open_transaction() as transaction:
                    return await transaction.run(operations.is_completed(claim))
            except (StoreUnavailable, StoreBusy):
                await asyncio.sleep(_OUTCOME_PAUSE_S)  # sync: sleep_s(_OUTCOME_PAUSE_S)
        return False

    async def _wait(self, row: OperationRow | None, deadline_s: float) -> None:
        left_s = deadline_s - monotonic_s()
        if left_s <= 0:
            whose = "claimed by another worker at this moment"
            if row is not None:
                whose = f"run by {row.owner} (attempt {row.attempts})"
            raise OperationRunning(
                f"Operation {self.operation_id!r} is being {whose}. Pass wait_s to wait for its "
                f"result, or ask again later."
            )
        pause_s = min(jitter(*_POLL_S), left_s)
        await asyncio.sleep(pause_s)  # sync: sleep_s(pause_s)

    async def _fail(self, claim: Claim, error: BaseException) -> None:
        """Keep the error, in a transaction of its own: the one that failed can't hold it."""
        try:
            async with self._open_transaction() as transaction:
                await transaction.run(operations.fail(claim, Mishap.of(error)))
        except BelaypinError as second:
            # Not kept: then the attempt ends when its time is up. The user's error goes first.
            error.add_note(f"and the failed attempt could not be recorded: {second}")


def _is_running(found: Claim | OperationRow | None) -> TypeGuard[OperationRow]:
    return isinstance(found, OperationRow) and found.status == "running"


class _OnceWork(AsyncWork):
    def __init__(self, open_transaction: OpenTransaction, once: AsyncOnce) -> None:
        super().__init__(open_transaction)
        self._once = once

    async def _guard(self, transaction: AsyncTransaction) -> None:
        assert self._once._claim is not None
        await transaction.run(operations.check(self._once._claim))
