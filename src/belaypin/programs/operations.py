"""Operations: idempotent calls under a stable id. A claim is committed before the work begins."""

from __future__ import annotations

from typing import Literal, NamedTuple

from belaypin.errors import Fenced, RequestMismatch
from belaypin.program import Program, Statement

__all__ = [
    "Claim",
    "OperationRow",
    "abandon",
    "check",
    "claim",
    "complete",
    "fail",
    "read",
    "renew",
]


class Claim(NamedTuple):
    """An attempt that is ours to make."""

    operation_id: str
    owner: str
    token: int
    attempt: int

    def params(self) -> dict[str, str | int]:
        return {"operation_id": self.operation_id, "owner": self.owner, "token": self.token}


class OperationRow(NamedTuple):
    """An operation as it is stored; the result is still framed."""

    status: Literal["running", "done", "failed"]
    request: str | None
    owner: str
    token: int
    attempts: int
    expires_us: int
    result: bytes | None
    error: str | None
    now_us: int


def claim(
    operation_id: str,
    request: str | None,
    owner: str,
    ttl_us: int,
    dead_owner: str | None = None,
) -> Program[Claim | OperationRow]:
    """Take the operation if it is new, has failed, or its worker is gone; else tell how it stands.

    Raises RequestMismatch if the id was used before with another request.
    """
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
        return Claim(operation_id, owner, *rows[0])
    row = yield from read(operation_id)
    assert row is not None
    if row.request != request:
        raise RequestMismatch(
            f"Operation {operation_id!r} was first called with another request (stored "
            f"{row.request}, now {request}). Nothing was run. Use a new id for a new request."
        )
    return row


def read(operation_id: str) -> Program[OperationRow | None]:
    """How an operation stands, if it was ever claimed."""
    rows = yield Statement("operation.read", {"operation_id": operation_id})
    return OperationRow(*rows[0]) if rows else None


def abandon(operation_id: str, owner: str, error: str) -> Program[bool]:
    """Give up whatever attempt ``owner`` has begun; his name is used but once."""
    rows = yield Statement(
        "operation.abandon", {"operation_id": operation_id, "owner": owner, "error": error}
    )
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


def complete(mine: Claim, result: bytes) -> Program[None]:
    """Store the framed result. Raises Fenced if the operation was taken over."""
    rows = yield Statement("operation.complete", {**mine.params(), "result": result})
    if not rows:
        raise _fenced(mine)


def fail(mine: Claim, error: str) -> Program[bool]:
    """Store why the attempt failed; False if the operation is no longer ours."""
    rows = yield Statement("operation.fail", {**mine.params(), "error": error})
    return bool(rows)


def _fenced(mine: Claim) -> Fenced:
    return Fenced(
        f"Operation {mine.operation_id!r} (attempt {mine.attempt}) was taken over by another "
        f"worker. Nothing was written. Drop this attempt; read the other one's result instead."
    )
