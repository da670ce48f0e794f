"""Messages: what the outbox hands to a handler, and what a delivery reports."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

__all__ = ["Delivery", "Message"]


class Message(msgspec.Struct, frozen=True):
    """A message of the outbox.

    ``key`` is the same on every attempt: send it along, so that the other side can recognise a
    repeat. ``attempt`` counts from 1; in a list of messages, it says how many were begun.
    ``payload`` is JSON data as it was sent. ``status`` is "waiting" or "quarantined", ``error`` why
    the last attempt failed, and ``next_try_at`` the time before which it is not tried again.
    """

    id: int
    topic: str
    key: str
    payload: Any
    attempt: int
    created_at: datetime
    status: Literal["waiting", "quarantined"] = "waiting"
    error: str | None = None
    next_try_at: datetime | None = None

    def __str__(self) -> str:
        """Return the message and what has become of it, in one line."""
        attempts = f"{self.attempt} attempt{'s' * (self.attempt != 1)}"
        more = f": {self.error}" if self.error is not None else ""
        return f"{self.topic} {self.key!r}, {self.status} after {attempts}{more}"


class Delivery(msgspec.Struct, frozen=True):
    """What one ``store.deliver`` has done: how many messages, by what became of them.

    ``failed`` will be tried again, ``quarantined`` wait for a person, and ``taken_over`` were
    handled for longer than this worker's claim lasted, so that another handles them as well.

    >>> print(Delivery(delivered=3, failed=1))
    3 delivered, 1 failed, 0 quarantined, 0 taken over
    """

    delivered: int = 0
    failed: int = 0
    quarantined: int = 0
    taken_over: int = 0

    @property
    def total(self) -> int:
        """How many messages were handled; one that failed and was tried again counts twice."""
        return self.delivered + self.failed + self.quarantined + self.taken_over

    def __str__(self) -> str:
        """Return the counts in one line."""
        return (
            f"{self.delivered} delivered, {self.failed} failed, {self.quarantined} quarantined, "
            f"{self.taken_over} taken over"
        )
