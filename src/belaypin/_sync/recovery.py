# Generated from src/belaypin/_async/recovery.py by tools/generate_sync.py; do not edit.
"""Recovery: how things stand, what is to be recovered and in which order, and doing it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from belaypin._sync.audit import Audit
from belaypin._sync.lease import Lease
from belaypin._sync.records import KeyLike
from belaypin._sync.resolve import resolved
from belaypin.errors import LeaseHeld, UsageError
from belaypin.fields import check_count, describe
from belaypin.keys import Key
from belaypin.plan import Outcome, Plan, RecoveryReport, Result, Step
from belaypin.process import is_surely_dead
from belaypin.program import Program
from belaypin.programs import audit, recovery, status
from belaypin.reports import Report
from belaypin.retry import Retry
from belaypin.status import Status
from belaypin.times import Duration

__all__ = ["Recovery"]

T = TypeVar("T")

_LISTED = 1_000
_DEATHS = 5
_ROUNDS = 100
_LOSSES = 3
_MAX_PRIORITY = 1_000_000_000

Work = Callable[[Lease, Step], Any]


class Recovery(Audit):
    """What was begun and not ended is found and gone on with, by as many workers as you like."""

    @abstractmethod
    def _lease_for(self, step: Step, ttl_s: Duration, retry: Retry | None) -> Lease:
        """The lease that a step is done under."""

    def status(self, key: KeyLike) -> Status:
        """How a pipeline, an entity or a stream stands, derived from what is committed.

        One short read. Of a pipeline it visits each of its rows once, but no payload.
        """
        return self._run(status.read(Key.of(key)), write=False)

    def prioritise(self, key: KeyLike, priority: int) -> None:
        """Set how important an entity is: plans put those of higher priority first (default: 0)."""
        if type(priority) is not int or abs(priority) > _MAX_PRIORITY:
            raise UsageError(
                f"priority must be a whole number of at most a thousand million, not "
                f"{describe(priority)}."
            )
        self._run(recovery.prioritise(_entity(key), priority))

    def readmit(self, key: KeyLike) -> bool:
        """Let an entity out of quarantine, its failures forgotten; False if it is not known.

        The next plan lists what it has begun. Noted in the audit.
        """
        return self._run(recovery.readmit(_entity(key), self._actor))

    def plan(
        self,
        pipeline: str | None = None,
        *,
        limit: int | None = _LISTED,
        deaths: int = _DEATHS,
        findings: Report | None = None,
    ) -> Plan:
        """What there is to recover, in the order in which it is to be done; changes nothing.

        It reads open work only, and of that no payload: work that somebody is at is not listed.
        ``limit`` steps are listed, all are counted. An entity whose workers died ``deaths`` times
        in a row before they committed anything is to be quarantined. ``findings``: what
        ``store.verify`` has found; each of its errors becomes a step of kind "repair". With
        ``pipeline``, of that one only, and without operations, which belong to none.
        """
        if pipeline is not None:
            Key(pipeline)
        check_count("limit", limit, at_least=1)
        check_count("deaths", deaths, at_least=1)
        facts = self._run(recovery.read(pipeline, deaths), write=False)
        return recovery.plan(facts, is_surely_dead, findings, limit)

    def recover(
        self,
        work: Work | None = None,
        plan: Plan | None = None,
        *,
        pipeline: str | None = None,
        limit: int | None = None,
        deaths: int = _DEATHS,
        retry: Retry | None = None,
        ttl_s: Duration = 30,
    ) -> RecoveryReport:
        """Do what the plan says until nothing is left that is due; ``left`` is what is.

        ``work(lease, step)`` is called under the lease of each step to resume, restart or retry:
        do there what you always do with a lease. If it raises, that is noted by ``retry`` for a
        later plan, and the others go on. Without ``work``, dead workers are fenced, abandoned
        operations counted as failed, entities quarantined and windows repaired; the rest is left.
        Only ``limit`` steps are done, and with ``plan`` only those that it lists.

        As many workers as you like may recover at once: a step is done by one of them. A step that
        commits nothing is not done twice in one call. Errors of the store itself are raised: then
        call it again, what is committed stays so. Quarantine, repair and the call itself are
        noted in the audit.
        """
        check_count("limit", limit, at_least=1)
        if plan is not None and pipeline is None:
            pipeline = plan.pipeline
        run = _Run(self, work, retry, ttl_s, limit)
        only = None if plan is None else {step.subject for step in plan.steps}
        left = plan or self.plan(pipeline, limit=None, deaths=deaths)
        for _ in range(_ROUNDS):
            steps = [s for s in left.steps if only is None or s.subject in only]
            if not run.steps(steps):
                break
            left = self.plan(pipeline, limit=None, deaths=deaths)
        if left is plan:
            left = self.plan(pipeline, limit=None, deaths=deaths)
        report = run.report(left)
        detail = {"done": report.counts, "left": left.counts}
        where = None if pipeline is None else Key(pipeline)
        self._run(audit.note(self._actor, "recover", where, detail))
        return report


class _Run:
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
            limit=_LISTED,
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


def _entity(key: KeyLike) -> Key:
    found = Key.of(key)
    if not found.entity or found.stream:
        raise UsageError(f"{found} is no entity: pass (pipeline, entity).")
    return found
