# Generated from src/belaypin/_async/recovery.py by tools/generate_sync.py; do not edit.
"""Recovery: how things stand, what is to be recovered and in which order, and doing it.

What does the work is imported with the first call: most workers never make one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from belaypin._sync.audit import Audit
from belaypin._sync.lease import Lease
from belaypin._sync.records import KeyLike
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.keys import Key
from belaypin.process import is_surely_dead
from belaypin.retry import Retry
from belaypin.times import Duration

if TYPE_CHECKING:
    from belaypin.records.plan import Plan, RecoveryReport, Step
    from belaypin.records.reports import Report
    from belaypin.records.status import Status

    Work = Callable[[Lease, Step], Any]

__all__ = ["LISTED", "Recovery"]

LISTED = 1_000
"""So many steps does a plan list, unless it is told otherwise."""

_DEATHS = 5
_ROUNDS = 100
_MAX_PRIORITY = 1_000_000_000


class Recovery(Audit):
    """What was begun and not ended is found and gone on with, by as many workers as you like."""

    @abstractmethod
    def _lease_for(self, step: Step, ttl_s: Duration, retry: Retry | None) -> Lease:
        """The lease that a step is done under."""

    def status(self, key: KeyLike) -> Status:
        """How a pipeline, an entity or a stream stands, derived from what is committed.

        Of a pipeline it visits each of its rows once, but no payload; on SQLite without WAL part by
        part, so that writers go on meanwhile.
        """
        from belaypin.programs import status

        return self._run(status.read(Key.of(key)), write=False)

    def prioritise(self, key: KeyLike, priority: int) -> None:
        """Set how important an entity is: plans put those of higher priority first (default: 0)."""
        from belaypin.programs import recovery

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
        from belaypin.programs import recovery

        return self._run(recovery.readmit(_entity(key), self._actor))

    def break_lease(self, key: KeyLike, *, role: str = "main", reason: str = "") -> int:
        """Take the lease on an entity from whoever has it, at once; returns its new token.

        For a holder that hangs: whatever it writes from now on changes nothing and raises Fenced in
        it. Then anybody may take the lease, and a plan lists the work as interrupted. Noted in the
        audit with ``reason``. UsageError if nobody holds it.
        """
        from belaypin.programs import leases

        if not isinstance(reason, str):
            raise UsageError(f"reason must be text, not {describe(reason)}.")
        return self._run(leases.break_off(_entity(key), role, self._actor, reason))

    def plan(
        self,
        pipeline: str | None = None,
        *,
        limit: int | None = LISTED,
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
        from belaypin.programs import recovery

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
        from belaypin._sync.recovering import Run
        from belaypin.programs import audit

        check_count("limit", limit, at_least=1)
        if plan is not None and pipeline is None:
            pipeline = plan.pipeline
        run = Run(self, work, retry, ttl_s, limit)
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


def _entity(key: KeyLike) -> Key:
    found = Key.of(key)
    if not found.entity or found.stream:
        raise UsageError(f"{found} is no entity: pass (pipeline, entity).")
    return found
