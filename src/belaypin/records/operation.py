"""What the store tells of an operation: how it stands, and every attempt that is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

__all__ = ["Attempt", "Operation"]


class Attempt(msgspec.Struct, frozen=True):
    """One attempt at an operation.

    ``outcome`` is None while it runs, "done", "failed" (see ``error`` and ``traceback``), or
    "lost": its worker stood still or died, and a later attempt took over.
    """

    number: int
    owner: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Literal["done", "failed", "lost"] | None = None
    error: str | None = None
    traceback: str | None = None

    @property
    def duration(self) -> timedelta | None:
        """How long it took; None while it runs. Of a lost one: until it was taken over."""
        return None if self.ended_at is None else self.ended_at - self.started_at


class Operation(msgspec.Struct, frozen=True):
    """An operation as it stood when it was read.

    ``attempts`` are the newest 20, oldest first, of ``attempt_count`` in all. ``error`` and
    ``traceback`` are those of the last attempt, if it failed. ``result`` is what was assigned to
    ``op.result``; None as well when ``result_expired``: that it was done is known for ever.
    """

    id: str
    status: Literal["running", "done", "failed"]
    attempt_count: int
    attempts: tuple[Attempt, ...]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    error: str | None = None
    traceback: str | None = None
    result: Any = None
    result_expired: bool = False
    result_expires_at: datetime | None = None

    @property
    def has_result(self) -> bool:
        """Whether it was done and its result, which may be None, is there."""
        return self.status == "done" and not self.result_expired

    @property
    def duration(self) -> timedelta:
        """From its first claim to its completion or, while not done, to the last change."""
        return (self.completed_at or self.updated_at) - self.created_at

    def __str__(self) -> str:
        """Return how it stands, in one line."""
        attempts = f"{self.attempt_count} attempt{'s' * (self.attempt_count != 1)}"
        more = f": {self.error}" if self.error is not None else ""
        return f"operation {self.id!r} is {self.status} after {attempts}{more}"
