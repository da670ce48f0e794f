"""Operations: how one stands, what is dropped of it in time, and functions whose calls are such."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from belaypin._async.once import AsyncOnce
from belaypin._async.resolve import resolved
from belaypin.calls import Call
from belaypin.codec import decode_frame, load_state
from belaypin.program import Program
from belaypin.programs import operations
from belaypin.programs.operations import AttemptRow, OperationRow
from belaypin.records.operation import Attempt, Operation
from belaypin.times import Duration, from_us

__all__ = ["AsyncOperations"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_DROPPED_PER_STEP = 500


class AsyncOperations(ABC):
    """What there is about operations besides ``once``."""

    @abstractmethod
    def once(
        self,
        operation_id: str,
        *,
        request: Any = None,
        ttl_s: Duration = 60,
        wait_s: Duration = 0,
        result_ttl: Duration | None = None,
    ) -> AsyncOnce:
        """Run something once under a stable id."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def operation(self, operation_id: str) -> Operation | None:
        """How an operation stands, with its attempts, errors and result; None if none began.

        Raises CorruptRecord if its result is damaged.
        """
        found = await self._run(_operation(operation_id), write=False)
        return None if found is None else _told(operation_id, *found)

    def idempotent(
        self,
        operation_id: str | Callable[..., str],
        *,
        request: bool | Callable[..., Any] = True,
        result_ttl: Duration | None = None,
        ttl_s: Duration = 60,
        wait_s: Duration = 0,
    ) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
        """Make each call of a function an operation: ``@store.idempotent("charge:{invoice_id}")``.

        The first call that succeeds runs it; later ones return the result that was stored, read as
        the type that the function says it returns (None once ``result_ttl`` is over).
        ``operation_id`` is a template with the names of parameters, whose arguments are texts,
        integers or UUIDs, or a callable that takes the arguments and returns the id. ``request``
        is what else must be the same, or RequestMismatch is raised: all arguments (True), what a
        callable makes of them, or nothing (False). A parameter named ``op`` is given the operation,
        for ``op.tx``. The rest is as in ``once``.

        Raises UsageError for a template that could give two calls one id.
        """

        def decorate(
            function: Callable[P, Coroutine[Any, Any, R]],
        ) -> Callable[P, Coroutine[Any, Any, R]]:
            call = Call(function, operation_id, request=request)

            @wraps(function)
            async def run(*args: P.args, **named: P.kwargs) -> R:
                once = self.once(
                    call.operation_id(args, named),
                    request=call.request(args, named),
                    ttl_s=ttl_s,
                    wait_s=wait_s,
                    result_ttl=result_ttl,
                )
                once._result_type = call.result_type()
                async with once as op:
                    if op:
                        given = {"op": op} if call.takes_op else {}
                        op.result = await resolved(function(*args, **named, **given))  # type: ignore[arg-type]
                result: R = op.result
                return result

            run.__signature__ = call.signature  # type: ignore[attr-defined]
            return run

        return decorate

    async def drop_expired_results(self) -> int:
        """Drop the results whose ``result_ttl`` is over; returns how many. In small transactions.

        That their operations were done stays known for ever: they are never run again.
        """
        dropped, total = _DROPPED_PER_STEP, 0
        while dropped == _DROPPED_PER_STEP:
            dropped = await self._run(operations.drop_expired_results(_DROPPED_PER_STEP))
            total += dropped
        return total


def _operation(operation_id: str) -> Program[tuple[OperationRow, list[AttemptRow]] | None]:
    row = yield from operations.read(operation_id)
    return None if row is None else (row, (yield from operations.attempts(operation_id)))


def _told(operation_id: str, row: OperationRow, attempts: list[AttemptRow]) -> Operation:
    result = None
    if row.result is not None:
        frame = decode_frame(row.result, what=f"result of operation {operation_id!r}")
        result = load_state(frame.raw, object)
    has_failed = row.status == "failed" and bool(attempts)
    return Operation(
        id=operation_id,
        status=row.status,
        attempt_count=row.attempts,
        attempts=tuple(map(_attempt, attempts)),
        created_at=from_us(row.created_us),
        updated_at=from_us(row.updated_us),
        completed_at=None if row.completed_us is None else from_us(row.completed_us),
        error=row.error,
        traceback=attempts[-1].traceback if has_failed else None,
        result=result,
        result_expired=row.is_result_expired,
        result_expires_at=(
            None if row.result_expires_us is None else from_us(row.result_expires_us)
        ),
    )


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        row.attempt,
        row.owner,
        from_us(row.started_us),
        None if row.ended_us is None else from_us(row.ended_us),
        row.outcome,
        row.error,
        row.traceback,
    )
