"""Runs: how an entity's leases began and ended, noted on its own row for recovery to go by."""

from __future__ import annotations

from typing import NamedTuple

from belaypin.errors import StoreBusy, StoreFull, StoreUnavailable
from belaypin.keys import Key
from belaypin.mishaps import Mishap
from belaypin.program import Program, Statement
from belaypin.programs import leases
from belaypin.programs.leases import Fence, Holder
from belaypin.retry import Retry
from belaypin.times import duration_us

__all__ = ["Failure", "begin", "clear", "due", "ended", "failed", "has_progressed", "interrupted"]

_STORES_OWN = (StoreBusy, StoreFull, StoreUnavailable)


class Failure(NamedTuple):
    """The exception that ended a lease's block, and what its policy is to decide by."""

    error: BaseException
    retry: Retry
    chance: float

    def delay_us(self, failures: int) -> int | None:
        """How long until it is tried again after so many failures in a row; None: give up.

        Nothing is given up because the database was away: that is no fault of the entity's.
        """
        if self.retry.gives_up(self.error):
            return None
        delay_us = self.retry.delay_us(failures, self.chance)
        if delay_us is None and isinstance(self.error, _STORES_OWN):
            return duration_us(self.retry.max_backoff, "max_backoff")
        return delay_us


def begin(
    key: Key,
    role: str,
    owner: str,
    ttl_us: int,
    dead_owner: str | None,
    wait_ms: int,
    only_after: int,
) -> Program[Fence | Holder]:
    """Take the lease, as ``leases.acquire`` does, and note the attempt."""
    found = yield from leases.acquire(key, role, owner, ttl_us, dead_owner, wait_ms, only_after)
    if isinstance(found, Fence):
        named = {"pipeline": key.pipeline, "entity": key.entity}
        yield Statement("run.begun", {**named, "key_id": found.key_id})
    return found


def ended(fence: Fence, acquired_us: int) -> Program[None]:
    """Its work has ended well: what its role had failed or died of before no longer counts."""
    rows = yield Statement("run.ended", {"key_id": fence.key_id, "acquired_us": acquired_us})
    if rows and rows[0][0] == fence.role:
        yield from clear(fence.key_id)


def interrupted(fence: Fence) -> Program[None]:
    """Its work was told to stop: neither a failure nor a death."""
    yield Statement("run.interrupted", {"key_id": fence.key_id})


def failed(fence: Fence, failure: Failure) -> Program[None]:
    """Its work has failed: once more, or for the first time since anything was committed."""
    rows = yield Statement("run.progress", {"key_id": fence.key_id})
    before, has_progressed = rows[0] if rows else (0, 0)
    failed_runs = 1 if has_progressed else before + 1
    yield from _note(
        fence.key_id,
        fence.role,
        failed_runs,
        Mishap.of(failure.error),
        failure.delay_us(failed_runs),
    )


def due(key_id: int, role: str, why: str) -> Program[None]:
    """Have a role's work run again at once, for a reason that is no failure of its own."""
    yield from _note(key_id, role, 1, Mishap(why, None), 0)


def has_progressed(key_id: int) -> Program[bool]:
    """Whether anything was committed in the entity since a lease on it was last taken."""
    rows = yield Statement("run.progress", {"key_id": key_id})
    return bool(rows and rows[0][1])


def clear(key_id: int) -> Program[None]:
    """Forget failures, deaths and quarantine."""
    yield Statement("run.clear", {"key_id": key_id})


def _note(
    key_id: int, role: str, failed_runs: int, mishap: Mishap, delay_us: int | None
) -> Program[None]:
    yield Statement(
        "run.failed",
        {
            "key_id": key_id,
            "role": role,
            "failed_runs": failed_runs,
            "error": mishap.error,
            "traceback": mishap.traceback or "",
            "delay_us": delay_us,
        },
    )
