"""Health: a store's figures, read part by part; docs/explanation/health.md has the formulas."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from belaypin.keys import Key
from belaypin.program import PAUSE, Program, Statement
from belaypin.programs import drills
from belaypin.programs.parts import Sums, each_part
from belaypin.programs.scope import Name, Scope
from belaypin.records.drill import Drill
from belaypin.records.health import Health
from belaypin.times import from_us

__all__ = ["read"]


def read(pipeline: str | None) -> Program[Health]:
    """The figures of one pipeline, or of all with the operations, which belong to none."""
    scope = Scope.of(pipeline, None)
    now_us = (yield Statement("clock.now"))[0][0]
    figures = _Figures()
    yield from each_part(scope, figures.read)
    totals = _Totals(*figures.totals.row)
    segments, ledger_raw_bytes, ledger_bytes = figures.ledger.row
    open_windows, interrupted_windows = figures.windows.row
    live_leases, recovery_us = (yield Statement("health.leases", scope.params()))[0]
    running, abandoned, failed, setback_us, result_bytes = 0, 0, 0, 0, 0
    if pipeline is None:
        yield PAUSE
        operations = yield Statement("health.operations")
        running, abandoned, failed, setback_us, result_bytes = operations[0]
    drilled = yield from drills.newest(pipeline or "", 1)
    return Health(
        at=from_us(now_us),
        pipeline=pipeline,
        keys=totals.keys,
        streams=totals.streams,
        items=totals.items,
        skipped=totals.skipped,
        changed=totals.changed,
        late=totals.late,
        too_late=totals.too_late,
        **figures.lags(now_us),
        gaps=totals.gaps,
        failures=totals.put_aside - figures.quarantined,
        quarantined=figures.quarantined,
        failed_entities=totals.failed_entities,
        quarantined_entities=totals.quarantined_entities,
        live_leases=live_leases,
        open_windows=open_windows,
        interrupted_windows=interrupted_windows,
        running_operations=running,
        abandoned_operations=abandoned,
        failed_operations=failed,
        recovery=timedelta(microseconds=max(recovery_us, setback_us)),
        **(_drilled(drilled[0]) if drilled else {}),
        segments=segments,
        ledger_raw_bytes=ledger_raw_bytes,
        ledger_bytes=ledger_bytes,
        state_bytes=totals.state_bytes,
        result_bytes=result_bytes,
    )


class _Totals(NamedTuple):
    """What adds up over the keys."""

    keys: int
    streams: int
    items: int
    skipped: int
    changed: int
    late: int
    too_late: int
    state_bytes: int
    put_aside: int
    failed_entities: int
    quarantined_entities: int
    gaps: int


class _Figures:
    """What is read of the keys, part by part."""

    def __init__(self) -> None:
        self.totals = Sums(len(_Totals._fields))
        self.ledger = Sums(3)
        self.windows = Sums(2)
        self.quarantined = 0
        self._heads: list[array[int]] = []
        self._furthest: tuple[int, Name] | None = None

    def read(self, part: Scope) -> Program[None]:
        """Add the figures of a part."""
        params = part.params()
        row = (yield Statement("health.keys", params))[0]
        self.totals.add(row)
        if _Totals(*row).put_aside:
            self.quarantined += (yield Statement("health.quarantined", params))[0][0]
        self.ledger.add((yield Statement("health.ledger", params))[0])
        self.windows.add((yield Statement("health.windows", params))[0])
        heads = array("q", sorted(head for (head,) in (yield Statement("health.heads", params))))
        if not heads:
            return
        self._heads.append(heads)
        if self._furthest is None or heads[0] < self._furthest[0]:
            head_us, *name = (yield Statement("status.head", params))[0]
            self._furthest = (head_us, (name[0], name[1], name[2]))

    def lags(self, now_us: int) -> dict[str, Any]:
        """The largest lag, whose it is, and the lag at some percentiles, by nearest rank."""
        if self._furthest is None:
            return {}
        head_us, name = self._furthest
        total = sum(map(len, self._heads))
        # Of n lags, rank ceil(n p / 100) from the smallest: the heads stand the other way round.
        ranks = {f"lag_p{p}": total - -(-total * p // 100) for p in (50, 90, 99)}
        lags = {name: now_us - at_rank(self._heads, rank) for name, rank in ranks.items()}
        return {
            "lag": timedelta(microseconds=now_us - head_us),
            "lag_key": Key(*name),
            **{name: timedelta(microseconds=lag) for name, lag in lags.items()},
        }


def at_rank(runs: Sequence[Sequence[int]], rank: int) -> int:
    """Of all numbers in some sorted runs, the one that ``rank`` others stand before."""
    low, high = min(run[0] for run in runs), max(run[-1] for run in runs)
    while low < high:  # the least number that more than ``rank`` are not above
        middle = (low + high) // 2
        if sum(bisect_right(run, middle) for run in runs) > rank:
            high = middle
        else:
            low = middle + 1
    return low


def _drilled(drill: Drill) -> dict[str, Any]:
    return {
        "drilled_at": drill.at,
        "drilled_kills": drill.kills,
        "drilled_lost": drill.lost,
        "drilled_doubled": drill.doubled,
        "drilled_recovery": drill.recovery_p99,
    }
