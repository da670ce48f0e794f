# Generated from src/belaypin/_async/recovering.py by tools/generate_sync.py; do not edit.
"""One call of ``store.recover``: each step done under its lease, its outcome noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from belaypin._sync.lease import Lease
from belaypin._sync.recovery import LISTED, Recovery
from belaypin._sync.resolve import resolved
from belaypin.errors import LeaseHeld
from belaypin.process import is_surely_dead
from belaypin.program import Program
from belaypin.programs import recovery
from belaypin.records.plan import Outcome, Plan, RecoveryReport, Result, Step
from belaypin.retry import Retry
from belaypin.times import Duration

__all__ = ["Run"]

T = TypeVar("T")
Work = Callable[[Lease, Step], Any]

_LOSSES = 3


class Run:
    """One call of ``recover``: what it has done so far."""

    def __init__(
        self,
        store: Recovery,
        work: Work | None,
        retry: Retry | None,
        ttl_s: Duration,
        limit: int | None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._store = store
        self._work = work
        self._retry = retry
        self._ttl_s = ttl_s
        self._limit = limit
        self._closed: set[tuple[Any, ...]] = set()
        self._losses: Counter[tuple[Any, ...]] = Counter()

    def steps(self, steps: list[Step]) -> bool:
        """Do those that are due and that this call may do; whether there were any."""
        due = [step for step in steps if step.is_due and step.subject not in self._closed]
        if self._limit is not None:
            due = due[: self._limit - len(self.outcomes)]
        for step in due:
            self.outcomes.append(self._step(step))
        return bool(due)

    def report(self, left: Plan) -> RecoveryReport:
        """What was done, and what is left, the damage included that only ``verify`` sees."""
        stands = {step.subject for step in left.steps}
        outcomes = [
            msgspec.structs.replace(o, result="stalled")
            if o.result == "done" and o.step.subject in stands & self._closed
            else o
            for o in self.outcomes
        ]
        damaged = [o.step for o in outcomes if o.step.kind == "repair" and o.result == "left"]
        left = Plan.of(
            [*left.steps, *(step for step in damaged if step.subject not in stands)],
            at=left.at,
            pipeline=left.pipeline,
            limit=LISTED,
            quarantined=left.quarantined,
            is_complete=left.is_complete,
        )
        return RecoveryReport(at=left.at, left=left, outcomes=tuple(outcomes))

    def _step(self, step: Step) -> Outcome:
        if step.kind == "repair":
            return self._repair(step)
        if step.kind == "quarantine":
            doing = recovery.quarantine(step, step.reason, self._store._actor, _dead(step))
            return self._closing(step, "quarantined" if self._do(doing) else "taken")
        if step.operation_id is not None:
            return self._operation(step)
        if self._work is None:
            return self._fence(step)
        return self._resume(step, self._work)

    def _resume(self, step: Step, work: Work) -> Outcome:
        assert step.key is not None
        outcome, has_begun = Outcome(step, "done"), False
        try:
            with self._store._lease_for(step, self._ttl_s, self._retry) as lease:
                has_begun = True
                resolved(work(lease, step))
        except LeaseHeld as held:
            if not has_begun:
                return self._taken(step)
            outcome = _failed(step, held)
        except Exception as error:
            if not has_begun:
                raise
            outcome = _failed(step, error)
        if not self._do(recovery.progressed(step.key)):
            self._closed.add(step.subject)
        return outcome

    def _taken(self, step: Step) -> Outcome:
        """Another worker was faster. Should he die, a later round finds that out."""
        self._losses[step.subject] += 1
        if self._losses[step.subject] == _LOSSES:
            self._closed.add(step.subject)
        return Outcome(step, "taken")

    def _fence(self, step: Step) -> Outcome:
        if step.owner is not None and step.owner != recovery.NOBODY:
            if self._do(recovery.fence(step, _dead(step))):
                return self._closing(step, "fenced")
            return self._taken(step)
        return self._closing(step, "left", "call store.recover(work) to go on with it")

    def _operation(self, step: Step) -> Outcome:
        if step.owner is None:
            return self._closing(step, "left", "call store.once with this id to run it")
        done = self._do(recovery.lapse(step, _dead(step)))
        return self._closing(step, "lapsed" if done else "taken")

    def _repair(self, step: Step) -> Outcome:
        done: bool | None = None
        if step.key is not None:
            done = self._do(recovery.repair(step.key, step.finding, self._store._actor))
        if done is None:
            return self._closing(step, "left", "belaypin can't repair this without loss")
        return self._closing(step, "repaired" if done else "taken")

    def _closing(self, step: Step, result: Result, error: str | None = None) -> Outcome:
        """The outcome of a step that is not done again in this call."""
        self._closed.add(step.subject)
        return Outcome(step, result, error)

    def _do(self, program: Program[T]) -> T:
        return self._store._run(program)


def _dead(step: Step) -> str | None:
    """The owner of the step's lease, if it may be taken from him before its time is up."""
    return step.owner if step.owner is not None and is_surely_dead(step.owner) else None


def _failed(step: Step, error: Exception) -> Outcome:
    return Outcome(step, "failed", f"{type(error).__name__}: {error}")
