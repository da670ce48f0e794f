"""Recovery: the plan in groups, what was done of it from here, and what is left."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from belaypin import Plan, Step
from belaypin.web.page import Page, Params, View
from belaypin.web.pages.overview import LISTED

__all__ = ["PAGE"]

SHOWN = 8
DRILLS = 10


class Recovery(Params, frozen=True, kw_only=True):
    """``pipeline``: the plan of one pipeline only."""

    pipeline: str | None = None


class Group(NamedTuple):
    """Steps that are alike."""

    kind: str
    reason: str
    steps: list[Step]
    estimate: timedelta | None
    unestimated: int


async def build(view: View, params: Recovery) -> dict[str, Any]:
    """The plan, as it was made last."""
    store, pipeline = view.store, params.pipeline
    sample, drills = await asyncio.gather(
        view.sample("plan", pipeline, lambda: store.plan(pipeline, limit=LISTED)),
        store.drills(pipeline, limit=DRILLS),
    )
    return {
        "sample": sample,
        "groups": [] if sample is None else list(groups(sample.value)),
        "shown": SHOWN,
        "drills": drills,
        "drill_command": view.command("drill", "MODULE:PIPELINE", kills=200),
        "job": view.dashboard.jobs.newest("recover"),
        "has_work": view.dashboard.work is not None,
        "command": view.command("plan", pipeline=pipeline),
    }


def groups(plan: Plan) -> Iterator[Group]:
    """The steps by their kind and reason, in the order of the plan."""
    found: dict[tuple[str, str], list[Step]] = {}
    for step in plan.steps:
        found.setdefault((step.kind, _alike(step.reason)), []).append(step)
    for (kind, _), steps in found.items():
        known = [step.estimate for step in steps if step.estimate is not None]
        total = sum(known, timedelta(0)) if known else None
        shown = steps[0].reason if len(steps) == 1 else _TIME.sub("…", steps[0].reason)
        yield Group(kind, shown, steps, total, len(steps) - len(known))


def _alike(reason: str) -> str:
    """The reason without its figures: "open since 12:03" and "open since 12:04" are one."""
    return _FIGURE.sub("0", _TIME.sub("", reason))


_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-][\d:]+)?")
_FIGURE = re.compile(r"\d+")

PAGE = Page("/recovery", "Recovery plan", "recovery.html", Recovery, build, nav="Recovery")
