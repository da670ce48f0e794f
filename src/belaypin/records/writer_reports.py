"""What a writer says of itself: what a crash could cost, and what it has done."""

from __future__ import annotations

import msgspec

from belaypin.keys import Key

__all__ = ["LossBound", "WriterFailure", "WriterReport"]


class LossBound(msgspec.Struct, frozen=True):
    """What a crash can cost at most of the saves that had returned: ``items`` of them.

    All of them returned within one stretch of ``delay_s`` seconds: the last ones before the crash,
    as long as the database answers.

    >>> print(LossBound(0, 0.0))
    a crash loses no save that has returned
    >>> print(LossBound(1000, 2.0))
    a crash loses at most 1000 saves that have returned, all of them within 2 s
    """

    items: int
    delay_s: float

    def __str__(self) -> str:
        """Return the bound as a sentence."""
        if not self.items:
            return "a crash loses no save that has returned"
        return (
            f"a crash loses at most {self.items} saves that have returned, all of them within "
            f"{self.delay_s:g} s"
        )


class WriterFailure(msgspec.Struct, frozen=True):
    """A state that could not be saved, and why; the others of its batch were."""

    key: Key
    error: str

    def __str__(self) -> str:
        """Return the key and the error."""
        return f"{self.key}: {self.error}"


class WriterReport(msgspec.Struct, frozen=True):
    """What a writer has done since it was made; print it to read it.

    ``saved`` states are durable, in ``batches`` transactions; ``retried`` counts transactions that
    were tried again. ``failed`` states were refused; ``failures`` lists the first of them.
    ``pending`` ones are not durable yet. ``longest_delay_s`` is the longest that a save took to be
    durable, in seconds from when it was called (or, with durability="async", had returned).

    >>> print(WriterReport(saved=250, batches=3, longest_delay_s=0.04))
    250 saved in 3 batches (0 retried), 0 failed, 0 pending; the slowest took 0.040 s
    """

    saved: int = 0
    batches: int = 0
    retried: int = 0
    failed: int = 0
    failures: tuple[WriterFailure, ...] = ()
    pending: int = 0
    longest_delay_s: float = 0.0

    def __str__(self) -> str:
        """Return the counts, then each failure that is listed."""
        counts = (
            f"{self.saved} saved in {self.batches} batches ({self.retried} retried), "
            f"{self.failed} failed, {self.pending} pending; the slowest took "
            f"{self.longest_delay_s:.3f} s"
        )
        return "\n".join([counts, *map(str, self.failures)])
