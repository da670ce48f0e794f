"""Operations: idempotent calls under a stable id. A claim is committed before the work begins."""

from __future__ import annotations

from typing import Literal, NamedTuple

from belaypin.errors import Fenced, RequestMismatch
from belaypin.mishaps import Mishap
from belaypin.program import Program, Statement

__all__ = [
    "KEPT_ATTEMPTS",
    "AttemptRow",
    "Claim",
    "OperationRow",
    "abandon",
    "attempts",
    "check",
    "claim",
    "complete",
    "drop_expired_results",
    "fail",
    "is_completed",
    "lapse",
    "look",
    "orphan_attempts",
    "read",
    "renew",
]

KEPT_ATTEMPTS = 20
"""How many attempts of an operation are kept, the newest ones."""


class Claim(NamedTuple):
    """An attempt that is ours to make."""

    operation_id: str
    owner: str
    token: int
    attempt: int

    def params(self) -> dict[str, str | int]:
        return {"operation_id": self.operation_id, "owner": self.owner, "token": self.token}


class OperationRow(NamedTuple):
    """An operation as it is stored; the result is still framed, and None once its time is over."""

    status: Literal["running", "done", "failed"]
    request: str | None
    owner: str
    token: int
    attempts: int
    expires_us: int
    result: bytes | None
    error: str | None
    result_expires_us: int | None
    created_us: int
    updated_us: int
    completed_us: int | None

    @property
    def is_result_expired(self) -> bool:
        """Whether it was done, and its result is kept no longer."""
        return self.status == "done" and self.result is None


class AttemptRow(NamedTuple):
    """An attempt as it is stored."""

    attempt: int
    owner: str
    started_us: int
    ended_us: int | None
    outcome: Literal["done", "failed", "lost"] | None
    error: str | None
    traceback: str | None


def claim(
    operation_id: str,
    request: str | None,
    owner: str,
    ttl_us: int,
    dead_owner: str | None = None,
    wait_ms: int | None = None,
) -> Program[Claim | OperationRow]:
    """Take the operation if it is new, has failed, or its worker is gone; else tell how it stands.

    If its row stays locked for ``wait_ms``, the database says that it is busy: see ``look``. None
    leaves that to the transaction, which may be the user's own.
    Raises RequestMismatch if the id was used before with another request.
    """
    if wait_ms is not None:
        yield Statement("operation.find", {"operation_id": operation_id, "wait_ms": wait_ms})
    rows = yield Statement(
        "operation.claim",
        {
            "operation_id": operation_id,
            "request": request,
            "owner": owner,
            "ttl_us": ttl_us,
            "dead_owner": dead_owner,
        },
    )
    if rows:
        mine = Claim(operation_id, owner, *rows[0])
        yield from _begin_attempt(mine)
        return mine
    row = yield from look(operation_id, request)
    assert row is not None
    return row


def look(operation_id: str, request: str | None) -> Program[OperationRow | None]:
    """How an operation stands for this request; no row is locked, so nobody is waited for.

    Raises RequestMismatch if the id was used before with another one.
    """
    row = yield from read(operation_id)
    if row is not None and row.request != request:
        raise RequestMismatch(
            f"Operation {operation_id!r} was first called with another request (stored "
            f"{row.request}, now {request}). Nothing was run. Use a new id for a new request."
        )
    return row


def read(operation_id: str) -> Program[OperationRow | None]:
    """How an operation stands, if it was ever claimed."""
    rows = yield Statement("operation.read", {"operation_id": operation_id})
    return OperationRow(*rows[0]) if rows else None


def attempts(operation_id: str) -> Program[list[AttemptRow]]:
    """The newest attempts of an operation, oldest first."""
    rows = yield Statement("attempt.list", {"operation_id": operation_id})
    return [AttemptRow(*row) for row in rows]


def abandon(operation_id: str, owner: str, error: str) -> Program[bool]:
    """Give up whatever attempt ``owner`` has begun; his name is used but once."""
    rows = yield Statement(
        "operation.abandon", {"operation_id": operation_id, "owner": owner, "error": error}
    )
    if rows:
        yield _ended(operation_id, owner, "failed", Mishap(error, None))
    return bool(rows)


def check(mine: Claim) -> Program[None]:
    """Hold the operation's row until the transaction ends. Raises Fenced if it was taken over."""
    rows = yield Statement("operation.lock", mine.params())
    if not rows:
        raise _fenced(mine)


def renew(mine: Claim) -> Program[bool]:
    """Extend the claim by its lifetime; False if it is no longer ours."""
    rows = yield Statement("operation.renew", mine.params())
    return bool(rows)


def complete(mine: Claim, result: bytes, result_ttl_us: int | None = None) -> Program[None]:
    """Store the framed result, for ever or for a time. Raises Fenced if it was taken over."""
    rows = yield Statement(
        "operation.complete", {**mine.params(), "result": result, "result_ttl_us": result_ttl_us}
    )
    if not rows:
        raise _fenced(mine)
    yield _ended(mine.operation_id, mine.owner, "done")


def is_completed(mine: Claim) -> Program[bool]:
    """Whether our ``complete`` took place; it waits for a COMMIT that is still on its way."""
    rows = yield Statement("operation.standing", {"operation_id": mine.operation_id})
    return [tuple(row) for row in rows] == [("done", mine.owner, mine.token)]


def fail(mine: Claim, mishap: Mishap) -> Program[bool]:
    """Store why the attempt failed; False if the operation is no longer ours."""
    rows = yield Statement("operation.fail", {**mine.params(), "error": mishap.error})
    if rows:
        yield _ended(mine.operation_id, mine.owner, "failed", mishap)
    return bool(rows)


def lapse(operation_id: str, token: int, dead_owner: str | None, error: str) -> Program[bool]:
    """Count an abandoned attempt as failed; False if it is another by now, or not abandoned."""
    rows = yield Statement(
        "operation.lapse",
        {"operation_id": operation_id, "token": token, "dead_owner": dead_owner, "error": error},
    )
    if rows:
        yield _ended(operation_id, rows[0][0], "lost", Mishap(error, None))
    return bool(rows)


def drop_expired_results(limit: int) -> Program[int]:
    """Drop up to ``limit`` results whose time is over; that they were done stays. How many."""
    rows = yield Statement("operation.drop_results", {"limit": limit})
    return len(rows)


def orphan_attempts(after: str, limit: int) -> Program[list[tuple[str, int]]]:
    """Ids behind ``after`` that have attempts but no operation, and how many attempts."""
    rows = yield Statement("attempt.orphans", {"after": after, "limit": limit})
    return [(operation_id, count) for operation_id, count in rows]


def _begin_attempt(mine: Claim) -> Program[None]:
    name = {"operation_id": mine.operation_id}
    if mine.attempt > 1:
        error = f"It never told how it ended; attempt {mine.attempt} took over."
        yield Statement("attempt.lost", {**name, "attempt": mine.attempt, "error": error})
    if mine.attempt > KEPT_ATTEMPTS:
        yield Statement("attempt.forget", {**name, "last_attempt": mine.attempt - KEPT_ATTEMPTS})
    yield Statement("attempt.begin", {**name, "owner": mine.owner})


def _ended(operation_id: str, owner: str, outcome: str, mishap: Mishap | None = None) -> Statement:
    return Statement(
        "attempt.end",
        {
            "operation_id": operation_id,
            "owner": owner,
            "outcome": outcome,
            "error": mishap.error if mishap else None,
            "traceback": mishap.traceback if mishap else None,
        },
    )


def _fenced(mine: Claim) -> Fenced:
    return Fenced(
        f"Operation {mine.operation_id!r} (attempt {mine.attempt}) was taken over by another "
        f"worker. Nothing was written. Drop this attempt; read the other one's result instead."
    )
