"""Plans and what became of them: for people (``str``) and for machines (``as_dict``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf
from typing import Any, Literal

import msgspec

from belaypin.keys import Key

__all__ = ["Outcome", "Plan", "RecoveryReport", "Step", "StepKind"]

StepKind = Literal["repair", "quarantine", "resume", "restart", "retry", "wait"]
Result = Literal[
    "done", "failed", "stalled", "taken", "fenced", "lapsed", "quarantined", "repaired", "left"
]

KINDS: tuple[StepKind, ...] = ("repair", "quarantine", "resume", "restart", "retry", "wait")
"""In the order in which they are done at one priority."""

_SHOWN = 40


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do, and why.

    ``kind``: "repair" (a stored record is damaged), "quarantine" (it was tried often enough),
    "resume" (windows are open, and nobody is at them), "restart" (its worker died between
    windows), "retry" (it failed, and is due), "wait" (it failed, and is not due before ``due_at``).
    ``key`` is the entity's, of a repair the record's; an operation has an ``operation_id`` instead.
    ``lag`` is that of the open stream furthest behind, ``estimate`` how long a run takes. ``token``
    and ``owner`` are the lease's when the plan was made: a step is done only if that still stands
    (an operation's, likewise). ``finding`` is the kind of damage, as ``store.verify`` names it.
    """

    kind: StepKind
    reason: str
    key: Key | None = None
    role: str = ""
    streams: tuple[str, ...] = ()
    operation_id: str | None = None
    priority: int = 0
    lag: timedelta | None = None
    estimate: timedelta | None = None
    due_at: datetime | None = None
    token: int = 0
    owner: str | None = None
    finding: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether there is something to do now."""
        return self.kind != "wait"

    @property
    def order(self) -> tuple[Any, ...]:
        """Where it stands: higher priority, then kind, then larger lag (unknown: largest), key."""
        behind_s = inf if self.lag is None else self.lag.total_seconds()
        parts = ("", "", "") if self.key is None else msgspec.structs.astuple(self.key)
        return (
            -self.priority,
            KINDS.index(self.kind),
            -behind_s,
            parts,
            self.role,
            self.operation_id or "",
        )

    @property
    def subject(self) -> tuple[Any, ...]:
        """What it is about: the same in every plan."""
        damage = self.reason if self.kind == "repair" else None
        return self.key, self.role, self.operation_id, damage

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values; lengths of time are in seconds."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "lag": _seconds(self.lag), "estimate": _seconds(self.estimate)}

    def __str__(self) -> str:
        """Return the step in one line."""
        what = "the store" if self.key is None else str(self.key)
        if self.operation_id is not None:
            what = f"operation {self.operation_id!r}"
        role = f" ({self.role})" if self.role not in ("", "main") else ""
        notes = [f"priority {self.priority}"] if self.priority else []
        notes += [f"lag {_rounded(self.lag)}"] if self.lag is not None else []
        notes += [f"about {_rounded(self.estimate)}"] if self.estimate is not None else []
        more = f" [{', '.join(notes)}]" if notes else ""
        return f"{self.kind:<10} {what}{role}: {self.reason}{more}"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to recover, in the order in which it is to be done; making it changes nothing.

    ``counts`` says how many steps of each kind there are, ``steps`` lists the first of them.
    ``estimate`` sums up what is known of those that are due; ``unestimated`` ones have no history.
    ``quarantined`` entities are left alone until ``store.readmit``. ``is_complete`` is False if
    there was more open work than one plan reads: recover it, and plan again.

    >>> from datetime import UTC
    >>> print(Plan(at=datetime(2024, 1, 1, tzinfo=UTC)))
    nothing to recover at 2024-01-01 00:00:00+00:00
    """

    at: datetime
    pipeline: str | None = None
    counts: dict[str, int] = {}
    steps: tuple[Step, ...] = ()
    estimate: timedelta | None = None
    unestimated: int = 0
    quarantined: int = 0
    is_complete: bool = True

    @classmethod
    def of(
        cls,
        steps: Iterable[Step],
        *,
        at: datetime,
        pipeline: str | None = None,
        limit: int | None = None,
        quarantined: int = 0,
        is_complete: bool = True,
    ) -> Plan:
        """Put the steps in order, count them, and list the first ``limit``."""
        ordered = sorted(steps, key=lambda step: step.order)
        found = Counter(step.kind for step in ordered)
        runs = [step for step in ordered if step.kind in ("resume", "restart", "retry")]
        known = [step.estimate for step in runs if step.estimate is not None]
        return cls(
            at=at,
            pipeline=pipeline,
            counts={kind: found[kind] for kind in KINDS if found[kind]},
            steps=tuple(ordered[:limit]),
            estimate=sum(known, timedelta(0)) if known else None,
            unestimated=len(runs) - len(known),
            quarantined=quarantined,
            is_complete=is_complete,
        )

    @property
    def total(self) -> int:
        """How many steps there are, those not listed included."""
        return sum(self.counts.values())

    @property
    def due(self) -> int:
        """How many of them could be done now."""
        return self.total - self.counts.get("wait", 0)

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON-able values; lengths of time are in seconds."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        steps = [step.as_dict() for step in self.steps]
        return {**fields, "estimate": _seconds(self.estimate), "steps": steps}

    def __str__(self) -> str:
        """Return the counts, then the first steps, one a line."""
        where = "" if self.pipeline is None else f" in {self.pipeline}"
        if not self.total and not self.quarantined:
            return f"nothing to recover{where} at {self.at}"
        parts = [f"{n} {kind}" for kind, n in self.counts.items()] or ["nothing to do"]
        if self.quarantined:
            parts.append(f"{self.quarantined} in quarantine")
        lines = [f"to recover{where} at {self.at}: {', '.join(parts)}"]
        if self.estimate is not None:
            least = f", {self.unestimated} steps have no history" if self.unestimated else ""
            lines.append(f"one worker would take about {_rounded(self.estimate)}{least}")
        lines += [f"{n:>5}. {step}" for n, step in enumerate(self.steps[:_SHOWN], 1)]
        if self.total > min(_SHOWN, len(self.steps)):
            lines.append(f"and {self.total - min(_SHOWN, len(self.steps))} more steps")
        if not self.is_complete:
            lines.append("and more open work than one plan reads: recover this, then plan again")
        return "\n".join(lines)


class Outcome(msgspec.Struct, frozen=True):
    """What became of one step.

    "done" (the work ended well), "failed" (it raised ``error``, which is stored, with its next
    try), "stalled" (it ended well but neither finished nor committed anything), "taken" (another
    worker has it, or has done it), "quarantined", "repaired", "fenced" (its dead worker can't write
    any more; the work is left), "lapsed" (the abandoned operation counts as failed), or "left"
    (belaypin can't do it alone; ``error`` says what a person can do).
    """

    step: Step
    result: Result
    error: str | None = None

    def __str__(self) -> str:
        """Return the outcome in one line."""
        why = "" if self.error is None else f" <- {self.error}"
        return f"{self.result:<11} {self.step}{why}"


class RecoveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of ``store.recover`` did, step by step, and what is left.

    >>> from datetime import UTC
    >>> at = datetime(2024, 1, 1, tzinfo=UTC)
    >>> print(RecoveryReport(at=at, left=Plan(at=at)))
    recovered: nothing was to be done
    nothing to recover at 2024-01-01 00:00:00+00:00
    """

    at: datetime
    left: Plan
    outcomes: tuple[Outcome, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many outcomes of each sort there are."""
        return dict(Counter(outcome.result for outcome in self.outcomes))

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing that is due is left."""
        return not self.left.due and not self.counts.get("failed")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-able values, ``ok`` and ``counts`` included."""
        return {
            "ok": self.ok,
            "at": msgspec.to_builtins(self.at),
            "counts": self.counts,
            "outcomes": [
                {"result": o.result, "error": o.error, "step": o.step.as_dict()}
                for o in self.outcomes
            ],
            "left": self.left.as_dict(),
        }

    def __str__(self) -> str:
        """Return the counts, each outcome, and the plan of what is left."""
        counts = ", ".join(f"{n} {result}" for result, n in self.counts.items())
        shown = [f"  {outcome}" for outcome in self.outcomes[:_SHOWN]]
        if len(self.outcomes) > _SHOWN:
            shown.append(f"  and {len(self.outcomes) - _SHOWN} more")
        return "\n".join(
            [f"recovered: {counts or 'nothing was to be done'}", *shown, str(self.left)]
        )


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _rounded(length: timedelta | None) -> str:
    if length is None:
        return "-"
    if length < timedelta(seconds=10):
        return f"{length.total_seconds():.1f} s"
    return str(timedelta(seconds=round(length.total_seconds())))
