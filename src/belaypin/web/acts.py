"""What can be done from the dashboard: the same verbs as on the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Annotated, Any, NamedTuple

from msgspec import Meta

import belaypin
from belaypin import Failure, Key, RecoveryReport, UsageError
from belaypin.web.page import Params, View
from belaypin.web.pages.failures import Failures
from belaypin.web.words import number

__all__ = ["ACTS", "Act", "Preview"]

LISTED = 20
STRETCHES = 5
COUNTED = 20_000
"""So many stretches of so many failures are looked at to count what an act is about."""

PATIENCE_S = 2.0
"""So long does a page wait for what was asked from it."""

Said = tuple[str, str]
"""What was done, and the address to go on to."""


class Preview(NamedTuple):
    """What an act is about to do: in words, with the first things that it is about."""

    text: str
    command: str
    total: int | None = None
    rows: tuple[str, ...] = ()
    is_possible: bool = True
    is_final: bool = False
    is_exact: bool = True
    """Whether ``total`` is all; else there may be more."""


class Act(NamedTuple):
    """An act, what it takes, what it would do, and doing it."""

    name: str
    title: str
    verb: str
    params: type[Params]
    preview: Callable[[View, Any], Awaitable[Preview]]
    act: Callable[[View, Any], Awaitable[Said]]


class Chosen(Failures, frozen=True, kw_only=True):
    """One failure, or those that a filter finds."""

    failure_id: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None

    @property
    def call(self) -> dict[str, Any]:
        """The arguments of ``store.replay`` and ``store.skip``."""
        if self.failure_id is not None:
            return {"failure_id": self.failure_id}
        return self.chosen


class OfEntity(Params, frozen=True, kw_only=True):
    """An entity, and the role of a lease on it."""

    pipeline: str | None = None
    entity: str | None = None
    role: str = "main"
    reason: str = ""

    @property
    def key(self) -> Key:
        """The entity's Key."""
        if not self.pipeline or not self.entity:
            raise UsageError("Which entity? Name its pipeline and the entity.")
        return Key(self.pipeline, self.entity)


class OfPipeline(Params, frozen=True, kw_only=True):
    """A pipeline, or all."""

    pipeline: str | None = None


async def _failures(view: View, params: Chosen, verb: str, text: str, *, final: bool) -> Preview:
    if params.failure_id is not None:
        found = await view.store.failure(params.failure_id)
        rows = tuple(_line(one) for one in (found,) if one is not None)
        command = view.command(verb, id=params.failure_id)
        return Preview(text, command, len(rows), rows, bool(rows), final)
    if not any(params.chosen.values()):
        raise UsageError("Choose first: a pipeline, an entity, a stream, a status or an error.")
    rows = tuple(map(_line, await view.store.failures(**params.chosen, limit=LISTED)))
    total, is_exact = await _counted(view, params) if len(rows) == LISTED else (len(rows), True)
    command = view.command(verb, params.asked)
    return Preview(text, command, total, rows, bool(rows), final, is_exact)


async def _counted(view: View, params: Chosen) -> tuple[int, bool]:
    """How many failures fit; with False: at least, as there are too many to look at all."""
    total, before = 0, None
    for _ in range(STRETCHES):
        found = await view.store.failure_groups(**params.chosen, limit=COUNTED, before=before)
        total, before = total + found.total, found.next
        if before is None:
            return total, True
    return max(total, LISTED), False


def _line(failure: Failure) -> str:
    return f"{failure.key} {failure.item_id!r}: {failure.error}"


async def preview_replay(view: View, params: Chosen) -> Preview:
    """Which items would be tried again."""
    text = "These items are handed out again, with all their attempts, by the next run of their stream."
    return await _failures(view, params, "retry", text, final=False)


async def replay(view: View, params: Chosen) -> Said:
    """Have failed items tried again."""
    store = view.store
    return await _each(
        view, "Try failed items again", lambda: store.replay(**params.call), "will be tried again"
    )


async def preview_skip(view: View, params: Chosen) -> Preview:
    """Which items would be given up."""
    text = "These items are given up for good, as if they were processed. They never come back."
    return await _failures(view, params, "skip", text, final=True)


async def skip(view: View, params: Chosen) -> Said:
    """Give failed items up."""
    store = view.store
    return await _each(
        view, "Give failed items up", lambda: store.skip(**params.call), "were given up"
    )


async def _each(view: View, title: str, act: Callable[[], Awaitable[int]], done: str) -> Said:
    """Act on each item, in a transaction of its own: thousands go on beside the pages."""
    back, jobs = view.url("/failures"), view.dashboard.jobs
    if not jobs.start("failures", title, act):
        return "Items are worked on already: nothing was started. Wait until that has ended.", back
    job = await jobs.settled("failures", PATIENCE_S)
    if job.is_running:
        return "It has begun, and goes on beside the pages. They show what comes of it.", back
    return job.error or f"{number(job.result)} items {done}.", back


async def preview_recover(view: View, params: OfPipeline) -> Preview:
    """What recovering would do."""
    plan = await view.store.plan(params.pipeline, limit=LISTED)
    work = (
        "Each lease is taken, and its work done, in this process."
        if view.dashboard.work is not None
        else "Dead workers are fenced, abandoned operations counted as failed, entities quarantined and "
        "windows repaired. The work itself is left to your workers: they find it the next time they run."
    )
    command = view.command("recover", pipeline=params.pipeline)
    return Preview(work, command, plan.due, tuple(map(str, plan.steps)), plan.due > 0)


async def recover(view: View, params: OfPipeline) -> Said:
    """Recover, beside the pages: the result is shown with the plan."""
    store, dashboard = view.store, view.dashboard
    work, pipeline = dashboard.work, params.pipeline

    async def job() -> RecoveryReport:
        if work is None or iscoroutinefunction(work):
            return await store.recover(work, pipeline=pipeline)
        return await asyncio.to_thread(_recover_here, dashboard.source.url, work, pipeline)

    started = dashboard.jobs.start("recover", f"Recover {pipeline or 'everything'}", job)
    said = "Recovery has begun." if started else "A recovery goes on already: nothing was started."
    return said, view.url("/recovery", pipeline=params.pipeline)


def _recover_here(url: str, work: Any, pipeline: str | None) -> RecoveryReport:
    """Work that blocks has a thread and a store of its own."""
    with belaypin.open(url, create=False) as store:
        return store.recover(work, pipeline=pipeline)


async def preview_readmit(view: View, params: OfEntity) -> Preview:
    """Which entity would be let out of quarantine."""
    status = await view.store.status(params.key)
    is_in = status.quarantined_at is not None
    rows = (f"{params.key}: {status.quarantine_reason}",) if is_in else ()
    text = (
        "The entity is let out of quarantine, its failures forgotten. The next plan lists its work."
    )
    command = view.command("readmit", params.key)
    return Preview(text, command, len(rows), rows, is_in)


async def readmit(view: View, params: OfEntity) -> Said:
    """Let an entity out of quarantine."""
    known = await view.store.readmit(params.key)
    said = f"{params.key} is out of quarantine." if known else f"{params.key} is not known."
    return said, view.key_url(params.key)


async def preview_break(view: View, params: OfEntity) -> Preview:
    """Whose lease would be broken."""
    status = await view.store.status(params.key)
    text = (
        "The holder is fenced at once: nothing that it still writes is kept, and another worker may take "
        "over. Do it if the holder hangs; a holder that is dead loses its lease by itself."
    )
    command = view.command(
        "break-lease", params.key, role=params.role, reason=params.reason or "..."
    )
    rows = (f"{params.key}, role {params.role}: {status.live_leases} live leases",)
    return Preview(text, command, 1, rows, is_possible=True, is_final=True)


async def break_lease(view: View, params: OfEntity) -> Said:
    """Fence a holder."""
    reason = params.reason or "from the dashboard"
    if view.person:
        reason = f"{reason} ({view.person})"
    token = await view.store.break_lease(params.key, role=params.role, reason=reason)
    return f"The lease on {params.key} was broken: token {token}.", view.url("/leases")


async def preview_gc(view: View, _params: Params) -> Preview:
    """What collecting garbage would free."""
    report = await view.store.gc(dry_run=True, deadline_s=2)
    rows = tuple(str(each) for each in report.dropped if each.rows)
    text = (
        "Drops what the default retention does not keep. What prevents duplicates is always kept."
    )
    return Preview(text, view.command("gc"), report.rows, rows, report.rows > 0, is_final=True)


async def gc(view: View, _params: Params) -> Said:
    """Collect garbage, beside the pages."""
    store = view.store
    started = view.dashboard.jobs.start("gc", "Collect garbage", store.gc)
    said = "Collection has begun." if started else "A collection goes on already."
    return said, view.url("/storage")


ACTS: tuple[Act, ...] = (
    Act("replay", "Try failed items again", "Try again", Chosen, preview_replay, replay),
    Act("skip", "Give failed items up", "Give up for good", Chosen, preview_skip, skip),
    Act("recover", "Recover", "Recover now", OfPipeline, preview_recover, recover),
    Act("readmit", "Let out of quarantine", "Let out", OfEntity, preview_readmit, readmit),
    Act("break-lease", "Break a lease", "Break the lease", OfEntity, preview_break, break_lease),
    Act("gc", "Collect garbage", "Drop it", Params, preview_gc, gc),
)
