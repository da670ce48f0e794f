"""Leases: who may advance a Key, in one role, until when; and the check that fences every write."""

from __future__ import annotations

from typing import NamedTuple

from belaypin.errors import Fenced, UsageError
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import audit, checkpoints

__all__ = [
    "Fence",
    "Holder",
    "abandon",
    "acquire",
    "break_off",
    "check",
    "fence_off",
    "holder",
    "release",
    "renew",
    "settled_holder",
]


class Fence(NamedTuple):
    """What every write under a lease carries: the lease, who holds it, and the token."""

    key: Key
    key_id: int
    role: str
    owner: str
    token: int
    ttl_us: int
    deaths: int = 0
    """How many holders in a row, up to the one before us, never released it."""

    def params(self) -> dict[str, str | int]:
        return {
            "key_id": self.key_id,
            "role": self.role,
            "owner": self.owner,
            "token": self.token,
        }


class Holder(NamedTuple):
    """A lease that is somebody else's until ``expires_us``, as of ``now_us``."""

    owner: str
    token: int
    expires_us: int
    now_us: int


def acquire(
    key: Key,
    role: str,
    owner: str,
    ttl_us: int,
    dead_owner: str | None = None,
    wait_ms: int = 30_000,
    only_after: int = 0,
) -> Program[Fence | Holder]:
    """Take the lease if it is free, expired, or held by ``dead_owner``; else tell who holds it.

    If its row stays locked for ``wait_ms``, the database says that it is busy: see ``holder``.
    ``only_after``: take it only if nobody has taken it since it had this token (0: in any case).
    """
    finding = Statement("lease.find", {**checkpoints.named(key), "wait_ms": wait_ms})
    rows = yield finding
    if not rows:
        yield from checkpoints.ensure(key)
        rows = yield finding
    key_id = rows[0][0]
    rows = yield Statement(
        "lease.acquire",
        {
            "key_id": key_id,
            "role": role,
            "owner": owner,
            "ttl_us": ttl_us,
            "dead_owner": dead_owner,
            "only_after": only_after,
        },
    )
    if rows:
        return Fence(key, key_id, role, owner, rows[0][0], ttl_us, rows[0][1])
    rows = yield Statement("lease.read", {"key_id": key_id, "role": role})
    return Holder(*rows[0])


def holder(key: Key, role: str) -> Program[Holder | None]:
    """Who holds the lease, or held it last; it waits for no lock."""
    key_id = yield from checkpoints.find(key)
    rows = yield Statement("lease.read", {"key_id": key_id, "role": role})
    return Holder(*rows[0]) if rows else None


def settled_holder(key: Key, role: str) -> Program[Holder | None]:
    """``holder``, after whoever is about to take or commit the lease has done so."""
    # Who takes it makes the Key's row if need be, and notes the attempt there: both are waited for.
    key_id = yield from checkpoints.ensure(key)
    yield from checkpoints.lock(key_id)
    return (yield from holder(key, role))


def renew(fence: Fence) -> Program[bool]:
    """Extend the lease by its lifetime; False if it is no longer ours."""
    rows = yield Statement("lease.renew", fence.params())
    return bool(rows)


def release(fence: Fence) -> Program[int | None]:
    """End the lease, for the next worker to take at once.

    Returns when it was taken; None if it is no longer ours.
    """
    rows = yield Statement("lease.release", fence.params())
    return rows[0][0] if rows else None


def fence_off(key_id: int, role: str, token: int, dead_owner: str | None) -> Program[bool]:
    """See to it that a dead holder can't write any more; False if the lease is another's by now.

    The lease is expired from then on, but not released: its work was never ended.
    """
    rows = yield Statement(
        "lease.fence",
        {"key_id": key_id, "role": role, "token": token, "dead_owner": dead_owner},
    )
    return bool(rows)


def break_off(key: Key, role: str, actor: str, reason: str) -> Program[int]:
    """Take a lease from whoever has it: its new token. Raises UsageError if nobody has it."""
    key_id = yield from checkpoints.find(key)
    rows = yield Statement("lease.hold", {"key_id": key_id, "role": role})
    broken = yield Statement("lease.break", {"key_id": key_id, "role": role})
    if not broken:
        raise UsageError(
            f"Nobody holds the lease on {key} (role {role!r}): there is nothing to break. "
            f"store.leases() lists those that are held."
        )
    owner, token, *_ = rows[0]
    detail = {"role": role, "owner": owner, "token": [token, broken[0][0]], "reason": reason}
    yield from audit.note(actor, "break-lease", key, detail)
    found: int = broken[0][0]
    return found


def abandon(key: Key, role: str, owner: str) -> Program[bool]:
    """End whatever ``owner`` holds of the lease, if he holds it; his name is used but once."""
    key_id = yield from checkpoints.find(key)
    rows = yield Statement("lease.abandon", {"key_id": key_id, "role": role, "owner": owner})
    return bool(rows)


def check(fence: Fence) -> Program[None]:
    """Hold the lease row for the rest of the transaction; the first statement of every write.

    Raises Fenced if the lease was taken over, released, or has ended.
    """
    rows = yield Statement("lease.lock", fence.params())
    if rows:
        return
    rows = yield Statement("lease.read", {"key_id": fence.key_id, "role": fence.role})
    holder = Holder(*rows[0]) if rows else None
    raise Fenced(_taken_over(fence, holder))


def _taken_over(fence: Fence, holder: Holder | None) -> str:
    if holder is None or holder.token == fence.token:
        what = "it has ended"
    else:
        what = f"{holder.owner} took it over with token {holder.token}"
    return (
        f"The lease on {fence.key} (role {fence.role}, token {fence.token}) is no longer ours: "
        f"{what}. Nothing was written. Stop this work, or take a new lease to go on from the last "
        f"commit."
    )
