"""Health: a store's figures, as they stood at one moment; docs/explanation/health.md has the formulas."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from belaypin.keys import Key
from belaypin.program import Program, Rows, Statement
from belaypin.programs import drills
from belaypin.programs.scope import Scope
from belaypin.records.drill import Drill
from belaypin.records.health import Health
from belaypin.times import from_us

__all__ = ["read"]


def read(pipeline: str | None) -> Program[Health]:
    """The figures of one pipeline, or of all with the operations, which belong to none."""
    params = Scope.of(pipeline, None).params()
    keys = yield Statement("health.keys", params)
    count, streams, items, skipped, changed, late, too_late, state_bytes, *rest = keys[0]
    put_aside, failed_entities, quarantined_entities, now_us = rest
    quarantined = (yield Statement("health.quarantined", params))[0][0] if put_aside else 0
    gaps = (yield Statement("status.gaps", params))[0][0]
    heads = yield Statement("health.heads", params)
    ledger = yield Statement("health.ledger", params)
    leases = yield Statement("health.leases", params)
    windows = yield Statement("health.windows", params)
    running, abandoned, failed, setback_us, result_bytes = 0, 0, 0, 0, 0
    if pipeline is None:
        operations = yield Statement("health.operations")
        running, abandoned, failed, setback_us, result_bytes = operations[0]
    lags = _lags(heads, now_us)
    drilled = yield from drills.newest(pipeline or "", 1)
    return Health(
        at=from_us(now_us),
        pipeline=pipeline,
        keys=count,
        streams=streams,
        items=items,
        skipped=skipped,
        changed=changed,
        late=late,
        too_late=too_late,
        lag=lags.get(100),
        lag_key=Key(*heads[0][3:]) if lags else None,
        lag_p50=lags.get(50),
        lag_p90=lags.get(90),
        lag_p99=lags.get(99),
        gaps=gaps,
        failures=put_aside - quarantined,
        quarantined=quarantined,
        failed_entities=failed_entities,
        quarantined_entities=quarantined_entities,
        live_leases=leases[0][0],
        open_windows=windows[0][0],
        interrupted_windows=windows[0][1],
        running_operations=running,
        abandoned_operations=abandoned,
        failed_operations=failed,
        recovery=timedelta(microseconds=max(leases[0][1], setback_us)),
        **(_drilled(drilled[0]) if drilled else {}),
        segments=ledger[0][0],
        ledger_raw_bytes=ledger[0][1],
        ledger_bytes=ledger[0][2],
        state_bytes=state_bytes,
        result_bytes=result_bytes,
    )


def _drilled(drill: Drill) -> dict[str, Any]:
    return {
        "drilled_at": drill.at,
        "drilled_kills": drill.kills,
        "drilled_lost": drill.lost,
        "drilled_doubled": drill.doubled,
        "drilled_recovery": drill.recovery_p99,
    }


def _lags(heads: Rows, now_us: int) -> dict[int, timedelta]:
    """The lag at each percentile, by its rank."""
    by_rank = {rank: now_us - head_us for _, rank, head_us, *_ in heads}
    total = heads[0][0] if heads else 0
    ranks = {p: -(-total * p // 100) for p in (50, 90, 99, 100)}
    return {p: timedelta(microseconds=by_rank[r]) for p, r in ranks.items() if total}
