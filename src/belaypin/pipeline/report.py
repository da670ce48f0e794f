"""What a run tells: while it goes on (Progress), and when it has ended (RunReport)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from belaypin.pipeline.tally import StreamTally

__all__ = ["Ended", "Progress", "RunReport", "StreamReport"]

Ended = Literal["complete", "stopped", "deadline", "failed"]

_COMPLETE, _NOT_SO, _STOPPED, _STORE = 0, 1, 3, 4  # as all commands exit


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How a run stands at one moment. ``remaining`` entities: None while nobody knows."""

    seconds: float
    items: int
    items_per_s: float
    skipped: int
    failed: int
    entities_done: int
    entities_failed: int
    entities_held: int
    entities_at_work: int
    remaining: int | None
    lag_s: float | None


class StreamReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in one stream, over all entities. ``lag_s`` is that of the one furthest behind.

    ``skipped`` items were committed before (or are older than what was), ``failed`` ones were put
    aside in this run, the ``quarantined`` among them for a person to look at.
    """

    new: int = 0
    changed: int = 0
    skipped: int = 0
    failed: int = 0
    quarantined: int = 0
    pages: int = 0
    lag_s: float | None = None


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one ``Pipeline.run`` did, and what remains.

    ``reason``: why it ended: "complete", "stopped" (by a signal or ``stop``), "deadline", or
    "failed" (the store could not be reached, the entities not be listed, or an engine broke down:
    ``errors`` says why).
    Entities are "done", "failed" (what they raised is stored, and they come back with the next
    run), "held" (another live worker has them), or they remain; ``remaining`` is None if the
    entities come from a generator whose end nobody saw. ``errors`` lists the first of them.
    ``exit_code`` is 0 if all is well, 1 if entities or items failed, 3 if it was stopped early with
    work left, 4 if it failed.

    >>> print(RunReport(pipeline="shop", reason="complete", seconds=2.0, entities_done=3))
    shop: complete in 2.0 s; 3 entities done, 0 failed, 0 held, 0 remaining; 0 items/s
    """

    pipeline: str
    reason: Ended
    seconds: float
    engine: str = "serial"
    streams: dict[str, StreamReport] = {}
    entities_done: int = 0
    entities_failed: int = 0
    entities_held: int = 0
    remaining: int | None = 0
    errors: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, streams: dict[str, StreamTally], **fields: Any) -> RunReport:
        """The report of these counts."""
        reports = {
            n: msgspec.convert(s, StreamReport, from_attributes=True) for n, s in streams.items()
        }
        return cls(streams=reports, **fields)

    @property
    def items(self) -> int:
        """Items that took effect, new and changed."""
        return sum(each.new + each.changed for each in self.streams.values())

    @property
    def items_per_s(self) -> float:
        """Items that took effect per second of the run."""
        return self.items / self.seconds if self.seconds else 0.0

    @property
    def failed_items(self) -> int:
        """Items that were put aside in this run."""
        return sum(each.failed for each in self.streams.values())

    @property
    def lag_s(self) -> float | None:
        """Seconds that the stream furthest behind is behind; None if no time is covered."""
        return max((s.lag_s for s in self.streams.values() if s.lag_s is not None), default=None)

    @property
    def exit_code(self) -> int:
        """What a command that ran this exits with."""
        if self.reason == "failed":
            return _STORE
        if self.reason != "complete":
            return _STOPPED
        return _NOT_SO if self.entities_failed or self.failed_items else _COMPLETE

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values, with the sums and the exit code."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        sums = {n: getattr(self, n) for n in ("items", "items_per_s", "lag_s", "exit_code")}
        return {**fields, **sums}

    def __str__(self) -> str:
        """Return the report for people: the run, then each stream, then what failed."""
        remaining = "an unknown number" if self.remaining is None else self.remaining
        lines = [
            f"{self.pipeline}: {self.reason} in {self.seconds:.1f} s; {self.entities_done} "
            f"entities done, {self.entities_failed} failed, {self.entities_held} held, "
            f"{remaining} remaining; {self.items_per_s:,.0f} items/s"
        ]
        for name, each in self.streams.items():
            lag = "" if each.lag_s is None else f", lag {each.lag_s:,.0f} s"
            quarantined = f" ({each.quarantined} quarantined)" if each.quarantined else ""
            lines.append(
                f"  {name}: {each.new:,} new, {each.changed:,} changed, {each.skipped:,} skipped, "
                f"{each.failed:,} failed{quarantined}{lag}"
            )
        lines += [f"  {entity or 'the run'}: {error}" for entity, error in self.errors]
        return "\n".join(lines)
