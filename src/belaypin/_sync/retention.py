# Generated from src/belaypin/_async/retention.py by tools/generate_sync.py; do not edit.
"""Keeping a store small, and its figures over time: gc, compact, record_health."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from belaypin._sync.records import KeyLike
from belaypin.backends.base import Backend
from belaypin.clock import monotonic_s
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.times import MAX_US, Duration, duration_us, since_us, to_us

if TYPE_CHECKING:
    from belaypin.programs.retention import Kind, Place, Task
    from belaypin.records.compaction import CompactReport
    from belaypin.records.health import Health
    from belaypin.records.retention import GcReport, Retention

__all__ = ["Housekeeping"]

T = TypeVar("T")

_ROWS_PER_STEP = 50


class Housekeeping(ABC):
    """What keeps a store small and remembers how it was, in small transactions."""

    _backend: Backend

    @abstractmethod
    def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    @abstractmethod
    def health(self, *, pipeline: str | None = None) -> Health:
        """How the store stands."""

    @property
    @abstractmethod
    def _actor(self) -> str:
        """Who acts, as the audit names them."""

    def gc(
        self,
        retention: Retention | None = None,
        *,
        dry_run: bool = False,
        limit: int | None = None,
        deadline_s: Duration | None = None,
        on_progress: Callable[[GcReport], None] | None = None,
    ) -> GcReport:
        """Drop what ``retention`` (default: ``Retention()``) does not keep, or tell what that is.

        Safe beside live workers and killed anywhere: each step is a short transaction of its own,
        after which ``on_progress`` is called. Whatever prevents duplicates stays. ``limit``: drop
        at most so many rows; ``deadline_s``: begin no step after so many seconds; the report says
        what is ``left``.
        """
        from belaypin.programs.retention import KINDS, Task
        from belaypin.records.retention import GcReport, Retention

        check_count("limit", limit, at_least=1)
        policy = Retention() if retention is None else retention
        _check_policy(policy)
        ends_s = _deadline_s(deadline_s)
        now_us = self._run(_now(), write=False)
        task = Task(policy, now_us, _ROWS_PER_STEP, dry_run, self._actor)
        report = GcReport(dry_run=dry_run)
        for kind in KINDS:
            report = self._collect(kind, task, report, limit, ends_s, on_progress)
        return report

    def compact(
        self,
        key: KeyLike | None = None,
        *,
        dry_run: bool = False,
        shrink: bool = False,
        on_progress: Callable[[CompactReport], None] | None = None,
    ) -> CompactReport:
        """Pack the many small segments of the streams at a Key and beneath it into full ones.

        None: of all streams. ``seen`` and ``fresh`` answer as before. Safe beside live workers and
        killed anywhere: each step is a short transaction of its own, after which ``on_progress``
        is called. ``shrink``: then give the free pages of an SQLite file back to the file system,
        for which nobody else may use it: StoreBusy if somebody does. On PostgreSQL autovacuum
        makes room by itself, and nothing is done.
        """
        from belaypin.programs import compaction
        from belaypin.programs.scope import Scope
        from belaypin.records.compaction import CompactReport

        scope: Scope | None = Scope.at(None if key is None else Key.of(key))
        report = CompactReport(dry_run=dry_run)
        while scope is not None:
            found, scope = self._run(compaction.streams(scope), write=False)
            for stream in found:
                packed, step = compaction.Packed(), None
                while step is None or (step.taken and not dry_run):
                    packing = compaction.pack(stream.key_id, dry_run=dry_run)
                    step = self._run(packing, write=not dry_run)
                    packed = packed.plus(step)
                    if on_progress is not None and step.taken:
                        on_progress(report.plus(packed))
                report = report.plus(packed)
        if shrink and not dry_run:
            report = report.shrunk(self._backend.shrink())
        return report

    def record_health(
        self, *, pipeline: str | None = None, every: Duration = "1m"
    ) -> Health | None:
        """Keep one sample of the figures of ``health``, for ``health_history``.

        At most one for each ``every`` of time, whoever calls and how often: None if there is one
        already. It costs what ``health`` costs and one small row, which ``gc`` thins out with age.
        """
        from belaypin.programs import samples

        if pipeline is not None:
            Key(pipeline)
        every_us = duration_us(every, "every")
        if not every_us:
            raise UsageError("every must be more than 0: each sample stands for that much time.")
        if not self._run(samples.is_due(pipeline or "", every_us), write=False):
            return None
        health = self.health(pipeline=pipeline)
        return health if self._run(samples.keep(health, every_us)) else None

    def health_history(
        self,
        since: str | timedelta | datetime = "1d",
        until: datetime | None = None,
        *,
        pipeline: str | None = None,
        limit: int = 1000,
    ) -> list[Health]:
        """The samples taken from ``since`` (as in ``windows``) until before ``until``, oldest first.

        At most ``limit``: go on ``since`` the last one's ``at`` plus a microsecond.
        """
        from belaypin.programs import samples

        check_count("limit", limit, at_least=1)
        if pipeline is not None:
            Key(pipeline)
        begin_us = since_us(since, self._run(_now(), write=False))
        end_us = MAX_US if until is None else to_us(until, "until")
        span = samples.Span(pipeline or "", begin_us, end_us, limit)
        return self._run(samples.history(span), write=False)

    def _collect(
        self,
        kind: Kind,
        task: Task,
        report: GcReport,
        limit: int | None,
        ends_s: float,
        on_progress: Callable[[GcReport], None] | None,
    ) -> GcReport:
        """All steps of one kind, as far as the limits allow."""
        place: Place | None = ()
        while place is not None:
            rows = task.limit if limit is None else min(task.limit, limit - report.rows)
            if rows <= 0 or monotonic_s() >= ends_s:
                return report.unfinished(kind.name)
            step = self._run(kind.step(task._replace(limit=rows), place), write=not task.dry_run)
            place = step.next
            report = report.plus(kind.name, step.rows, step.bytes)
            if on_progress is not None and step.rows:
                on_progress(report)
        return report


def _deadline_s(deadline_s: Duration | None) -> float:
    if deadline_s is None:
        return float("inf")
    return monotonic_s() + duration_us(deadline_s, "deadline_s") / 1_000_000


def _check_policy(policy: object) -> None:
    from belaypin.records.retention import Retention

    if not isinstance(policy, Retention):
        raise UsageError(f"retention must be a belaypin.Retention, not {describe(policy)}.")
    policy.check()


def _now() -> Program[int]:
    rows = yield Statement("clock.now")
    now_us: int = rows[0][0]
    return now_us
