"""Overview: what needs somebody, the figures with their trend, and the pipelines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from belaypin import Failure, Health, Status
from belaypin.web.charts import Sparkline, sparkline
from belaypin.web.page import Page, Params, View
from belaypin.web.words import age, number, percent, size, span

__all__ = ["PAGE"]

MOST_PIPELINES = 50
COUNTED = 1_000
LISTED = 500
HISTORY = "1d"


class Overview(Params, frozen=True, kw_only=True):
    """``pipeline``: the figures of one pipeline only."""

    pipeline: str | None = None


class Tile(NamedTuple):
    """A figure, what it is of, and how it went."""

    name: str
    value: str
    note: str
    state: str
    url: str
    trend: Sparkline | None


class Concern(NamedTuple):
    """Something that somebody should look at."""

    state: str
    text: str
    url: str


async def build(view: View, params: Overview) -> dict[str, Any]:
    """Everything here is sampled: nothing waits for a million rows."""
    store, pipeline = view.store, params.pipeline
    shown = [pipeline] if pipeline else view.pipelines[:MOST_PIPELINES]
    # Side by side: a reader's patience is for the whole page, not for each of its figures.
    health, failed, plan, history, *statuses = await asyncio.gather(
        view.sample("health", pipeline, lambda: store.health(pipeline=pipeline)),
        view.sample("failed", pipeline, lambda: store.failures(pipeline, limit=COUNTED)),
        view.sample("plan", pipeline, lambda: store.plan(pipeline, limit=LISTED)),
        store.health_history(HISTORY, pipeline=pipeline, limit=200),
        *(status_of(view, name) for name in shown),
    )
    rows = list(zip(shown, statuses, strict=True))
    return {
        "health": health,
        "rows": rows,
        "more": max(0, len(view.pipelines) - len(shown)) if not pipeline else 0,
        "tiles": [] if health is None else list(tiles(view, health.value, history, rows)),
        "concerns": list(concerns(view, pipeline, rows, failed, plan)),
        "history": history,
        "command": view.command("health", pipeline=pipeline),
    }


async def status_of(view: View, pipeline: str) -> Any:
    """How a pipeline stands, as it was read last."""
    return await view.sample("status", pipeline, lambda: view.store.status(pipeline))


def tiles(
    view: View, health: Health, history: list[Health], rows: list[tuple[str, Any]]
) -> Iterator[Tile]:
    """The figures of the whole store, or of one pipeline."""
    samples = (*history, health)
    gaps = sum(sample.value.gaps for _, sample in rows if sample is not None)
    yield from _progress(view, health, samples, gaps)
    yield from _upkeep(view, health, samples)


def _progress(view: View, health: Health, samples: tuple[Health, ...], gaps: int) -> Iterator[Tile]:
    scope = {"pipeline": health.pipeline}
    half = f"half of the streams: {span(health.lag_p50)}"
    yield Tile(
        "Worst lag",
        span(health.lag),
        "nothing is covered" if health.lag is None else half,
        "calm",
        view.url("/coverage", **scope),
        _trend(samples, lambda h: _seconds(h.lag)),
    )
    yield Tile(
        "Gaps in coverage",
        number(gaps),
        "holes that a backfill fills" if gaps else f"{number(health.streams)} streams, no holes",
        "warn" if gaps else "good",
        view.url("/coverage", q="gaps>0", **scope),
        _trend(samples, lambda h: h.gaps),
    )
    yield Tile(
        "Efficiency",
        percent(health.efficiency),
        f"{number(health.skipped)} items came again",
        "calm",
        view.url("/efficiency", **scope),
        _trend(samples, lambda h: h.efficiency),
    )


def _upkeep(view: View, health: Health, samples: tuple[Health, ...]) -> Iterator[Tile]:
    scope = {"pipeline": health.pipeline}
    ratio = health.compression_ratio
    yield _readiness(view, health, samples)
    yield Tile(
        "Orphans",
        number(health.orphans),
        f"of {number(health.open_windows)} open windows",
        "warn" if health.orphans else "good",
        view.url("/recovery", **scope),
        _trend(samples, lambda h: h.orphans),
    )
    yield Tile(
        "Stored",
        size(health.stored_bytes),
        "no ledger yet" if ratio is None else f"ledger compressed {ratio:.1f} to 1",
        "calm",
        view.url("/storage", **scope),
        _trend(samples, lambda h: h.stored_bytes),
    )


def _readiness(view: View, health: Health, samples: tuple[Health, ...]) -> Tile:
    """What the newest drill has measured; the estimate as long as there was none."""
    url = view.url("/recovery", pipeline=health.pipeline)
    estimate = f"estimated {span(health.recovery)} with {number(health.live_leases)} leases held"
    if health.drilled_at is None:
        name, trend = "Recovery readiness", _trend(samples, lambda h: h.recovery.total_seconds())
        return Tile(name, "never drilled", estimate, "calm", url, trend)
    harm = health.drilled_lost + health.drilled_doubled
    kills = f"{number(health.drilled_kills)} kills {age(health.drilled_at, view.now)}"
    note = f"p99 of {kills}: " + (
        f"{number(health.drilled_lost)} lost, {number(health.drilled_doubled)} doubled"
        if harm
        else "nothing lost or doubled"
    )
    measured = span(health.drilled_recovery)
    trend = _trend(samples, lambda h: _seconds(h.drilled_recovery))
    return Tile("Recovery, drilled", measured, note, "bad" if harm else "good", url, trend)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _trend(samples: tuple[Health, ...], of: Callable[[Health], float | None]) -> Sparkline | None:
    return sparkline([(sample.at, of(sample)) for sample in samples])


def concerns(
    view: View, pipeline: str | None, rows: list[tuple[str, Any]], failed: Any, plan: Any
) -> Iterator[Concern]:
    """What somebody should look at, worst first."""
    statuses: list[Status] = [sample.value for _, sample in rows if sample is not None]
    for word in ("quarantined", "failed", "interrupted"):
        count = sum(status.entities.get(word, 0) for status in statuses)
        if count:
            url = view.url("/items", q=f"state:{word}", pipeline=pipeline)
            yield Concern(word, f"{_many(count, 'entity', 'entities')} {word}", url)
    failures: list[Failure] = [] if failed is None else failed.value
    if failures:
        aside = sum(failure.status == "quarantined" for failure in failures)
        more = " or more" if len(failures) == COUNTED else ""
        text = f"{_many(len(failures), 'item')}{more} failed, {number(aside)} in quarantine"
        yield Concern("failed", text, view.url("/failures", pipeline=pipeline))
    if plan is not None and plan.value.due:
        text = f"{_many(plan.value.due, 'step')} to recover"
        yield Concern("interrupted", text, view.url("/recovery", pipeline=pipeline))
    gaps = sum(status.gaps for status in statuses)
    if gaps:
        url = view.url("/coverage", q="gaps>0", pipeline=pipeline)
        yield Concern("waiting", f"{_many(gaps, 'gap')} in the coverage", url)


def _many(count: int, one: str, many: str | None = None) -> str:
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


PAGE = Page("/", "Overview", "overview.html", Overview, build, nav="Overview")
