"""The endpoints of the JSON API: address, parameters, what they read, what it looks like."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

import belaypin
from belaypin import BelaypinError, Key, UsageError
from belaypin.web.page import MAX_LIMIT, Params, View
from belaypin.web.states import stored

__all__ = ["ENDPOINTS", "Endpoint", "NotThere"]

Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="how many rows at most")]
Row = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Since = Annotated[
    str, Meta(description="a length of time up to now (30d), or a time", max_length=64)
]
Text = Annotated[str, Meta(max_length=4096)]


class NotThere(BelaypinError):
    """What was asked for is not there."""


class Endpoint(NamedTuple):
    """One address of the API."""

    path: str
    summary: str
    params: type[Params]
    read: Callable[[View, Any], Awaitable[Any]]
    returns: Any


class Nothing(Params, frozen=True, kw_only=True):
    """No parameters."""


class OfPipeline(Params, frozen=True, kw_only=True):
    """A pipeline, or all of the store."""

    pipeline: Text | None = None


class OfKey(Params, frozen=True, kw_only=True):
    """A pipeline, an entity of it, or a stream of that."""

    pipeline: Text | None = None
    entity: Text | None = None
    stream: Text | None = None

    @property
    def key(self) -> Key:
        """The Key; raises UsageError if it is none."""
        if not self.pipeline:
            raise UsageError("Name a `pipeline`, and what is beneath it.")
        return Key(self.pipeline, self.entity or "", self.stream or "")


class Rows(Params, frozen=True, kw_only=True):
    """A page of a listing: ``q`` is a filter, ``after`` the ``next`` of the page before."""

    q: Text = ""
    pipeline: Text | None = None
    limit: Limit = 100
    after: Text | None = None


class Ordered(Rows, frozen=True, kw_only=True):
    """A page of a listing that can be ordered."""

    order: Literal["key", "lag", "updated"] = "key"


class Failed(OfKey, frozen=True, kw_only=True):
    """A page of failures."""

    status: Literal["waiting", "quarantined"] | None = None
    error: Text | None = None
    limit: Limit = 100
    after: Row = 0


class Grouped(OfKey, frozen=True, kw_only=True):
    """Failures in groups; ``before``: the ``next`` of the answer before."""

    status: Literal["waiting", "quarantined"] | None = None
    error: Text | None = None
    before: Row | None = None


class OneFailure(Params, frozen=True, kw_only=True):
    """A failure."""

    id: Row = 0


class Operations(Params, frozen=True, kw_only=True):
    """A page of operations."""

    status: Literal["running", "done", "failed"] | None = None
    limit: Limit = 100
    after: Text | None = None


class OneOperation(Params, frozen=True, kw_only=True):
    """An operation."""

    id: Text = ""


class Items(OfKey, frozen=True, kw_only=True):
    """A page of the ids in the ledger of a stream."""

    contains: Text | None = None
    limit: Limit = 100
    after: Text | None = None


class Windows(OfKey, frozen=True, kw_only=True):
    """A page of open windows; with no pipeline: those of the whole store."""

    limit: Limit = 100
    after: Text | None = None


class Planned(OfPipeline, frozen=True, kw_only=True):
    """How much of a plan is listed."""

    limit: Limit = 100


class History(OfKey, frozen=True, kw_only=True):
    """A page of the versions of a state."""

    limit: Limit = 20
    before: Row | None = None


class Diff(OfKey, frozen=True, kw_only=True):
    """Two versions of a state; ``new``: the present one, if it is left out."""

    old: Row = 0
    new: Row | None = None


class Explain(OfKey, frozen=True, kw_only=True):
    """An item of a stream (``numeric``: its id is a number), or the document at a Key."""

    item: Text | None = None
    numeric: bool = False


class Audit(OfKey, frozen=True, kw_only=True):
    """A page of the audit; ``actor``: a part of who acted."""

    actor: Text | None = None
    limit: Limit = 100
    before: Row | None = None


class HealthHistory(OfPipeline, frozen=True, kw_only=True):
    """The recorded samples of a stretch of time."""

    since: Since = "1d"
    until: datetime | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class Counted(Params, frozen=True, kw_only=True):
    """What is counted, and up to where."""

    q: Text = ""
    pipeline: Text | None = None
    kind: Literal["entities", "streams", "leases"] = "entities"
    cap: Annotated[int, Meta(ge=1, le=100_000)] = 10_000


class Sampled(msgspec.Struct):
    """A figure that is read in the background. ``value`` is null while it is read for the first time."""

    value: Any
    age_s: float | None
    cost_s: float | None


class Count(msgspec.Struct):
    """A count; more, if it is not exact: it ended at the cap, or at what one short read may look at."""

    count: int
    is_exact: bool


class Pipelines(msgspec.Struct):
    """The pipelines of a store."""

    pipelines: list[str]


async def _sampled(view: View, name: str, pipeline: str | None, read: Any) -> Any:
    if pipeline is not None:
        Key(pipeline)
    sample = await view.sample(name, pipeline, read)
    if sample is None:
        return Sampled(None, None, None)
    return Sampled(sample.value.as_dict(), sample.age_s, sample.cost_s)


async def pipelines(view: View, _params: Nothing) -> Any:
    """Their names."""
    return Pipelines(await view.store.pipelines())


async def health(view: View, params: OfPipeline) -> Any:
    """The figures, as they were read last."""
    of = params.pipeline
    return await _sampled(view, "health", of, lambda: view.store.health(pipeline=of))


async def health_history(view: View, params: HealthHistory) -> Any:
    """Recorded samples."""
    rows = await view.store.health_history(
        params.since, params.until, pipeline=params.pipeline, limit=params.limit
    )
    return {"rows": [row.as_dict() for row in rows]}


async def status(view: View, params: OfKey) -> Any:
    """Of a pipeline as it was read last, else as it is."""
    key = params.key
    if key.depth > 1:
        return Sampled((await view.store.status(key)).as_dict(), 0.0, None)
    return await _sampled(view, "status", key.pipeline, lambda: view.store.status(key))


async def entities(view: View, params: Ordered) -> Any:
    """Entities."""
    return (await view.store.entities(params.q, **_page(params), order=params.order)).as_dict()


async def streams(view: View, params: Ordered) -> Any:
    """Streams."""
    return (await view.store.streams(params.q, **_page(params), order=params.order)).as_dict()


async def leases(view: View, params: Rows) -> Any:
    """Leases."""
    return (await view.store.leases(params.q, **_page(params))).as_dict()


async def gaps(view: View, params: Rows) -> Any:
    """Holes."""
    return (await view.store.gap_list(params.q, **_page(params))).as_dict()


async def count(view: View, params: Counted) -> Any:
    """A bounded count."""
    found = await view.store.count(params.q, params.kind, pipeline=params.pipeline, cap=params.cap)
    return Count(int(found), found.is_exact)


async def items(view: View, params: Items) -> Any:
    """Ids."""
    found = await view.store.items(
        params.key, contains=params.contains, limit=params.limit, after=params.after
    )
    return found.as_dict()


async def windows(view: View, params: Windows) -> Any:
    """Open windows."""
    key = params.key if params.pipeline else None
    return (await view.store.windows(key, limit=params.limit, after=params.after)).as_dict()


async def operations(view: View, params: Operations) -> Any:
    """Operations."""
    found = await view.store.operations(
        status=params.status, limit=params.limit, after=params.after
    )
    return found.as_dict()


async def operation(view: View, params: OneOperation) -> Any:
    """An operation with its attempts."""
    found = await view.store.operation(params.id)
    if found is None:
        raise NotThere(f"There is no operation {params.id!r}.")
    return _plain(found)


async def storage(view: View, params: OfPipeline) -> Any:
    """What takes up how much."""
    of = params.pipeline
    return await _sampled(view, "storage", of, lambda: view.store.storage(pipeline=of))


async def plan(view: View, params: Planned) -> Any:
    """The plan, as it is now."""
    return (await view.store.plan(params.pipeline, limit=params.limit)).as_dict()


async def failures(view: View, params: Failed) -> Any:
    """Failures without their payloads."""
    rows = await view.store.failures(
        params.pipeline,
        params.entity,
        params.stream,
        status=params.status,
        error=params.error,
        limit=params.limit,
        after=params.after,
    )
    more = rows[-1].failure_id if len(rows) == params.limit else None
    return {"rows": [_plain(row) for row in rows], "next": more}


async def failure_groups(view: View, params: Grouped) -> Any:
    """Failures by the class of their error."""
    found = await view.store.failure_groups(
        params.pipeline,
        params.entity,
        params.stream,
        status=params.status,
        error=params.error,
        before=params.before,
    )
    return _plain(found)


async def failure(view: View, params: OneFailure) -> Any:
    """A failure with its payload."""
    found = await view.store.failure(params.id)
    if found is None:
        raise NotThere(f"There is no failure {params.id}.")
    return _plain(found)


async def coverage(view: View, params: OfKey) -> Any:
    """What is covered of a stream, and what is not."""
    covered = await view.store.coverage(params.key)
    holes = await view.store.gaps(params.key)
    return {"covered": _plain(covered), "gaps": _plain(holes)}


async def checkpoint(view: View, params: OfKey) -> Any:
    """The state and the counts at a Key."""
    found = await stored(view.store, params.key)
    if found is None:
        raise NotThere(f"There is no checkpoint at {params.key}.")
    return _plain(found)


async def history(view: View, params: History) -> Any:
    """Versions."""
    rows = await view.store.history(params.key, limit=params.limit, before=params.before)
    return {"rows": [_plain(row) for row in rows]}


async def diff(view: View, params: Diff) -> Any:
    """Differences."""
    return {"differences": _plain(await view.store.diff(params.key, params.old, params.new))}


async def explain(view: View, params: Explain) -> Any:
    """Why an item or a document was processed or skipped."""
    item: Any = params.item
    if item is not None and params.numeric:
        try:
            item = int(item)
        except ValueError as error:
            raise UsageError(f"{item!r} is no whole number.") from error
    return (await view.store.explain(params.key, item)).as_dict()


async def audit(view: View, params: Audit) -> Any:
    """Entries, newest first."""
    key = params.key if params.pipeline else None
    rows = await view.store.audit(key, actor=params.actor, limit=params.limit, before=params.before)
    more = rows[-1].number if len(rows) == params.limit else None
    return {"rows": [_plain(row) for row in rows], "next": more}


def _page(params: Rows) -> dict[str, Any]:
    return {"pipeline": params.pipeline, "limit": params.limit, "after": params.after}


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=repr)


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("/api/pipelines", "The pipelines", Nothing, pipelines, Pipelines),
    Endpoint("/api/health", "Health, sampled", OfPipeline, health, (Sampled, belaypin.Health)),
    Endpoint(
        "/api/health-history", "Recorded health", HealthHistory, health_history, [belaypin.Health]
    ),
    Endpoint("/api/status", "How a Key stands", OfKey, status, (Sampled, belaypin.Status)),
    Endpoint("/api/entities", "Entities", Ordered, entities, [belaypin.EntityRow]),
    Endpoint("/api/streams", "Streams", Ordered, streams, [belaypin.StreamRow]),
    Endpoint("/api/count", "A bounded count", Counted, count, Count),
    Endpoint("/api/storage", "Storage, sampled", OfPipeline, storage, (Sampled, belaypin.Storage)),
    Endpoint("/api/leases", "Leases", Rows, leases, [belaypin.LeaseRow]),
    Endpoint("/api/windows", "Windows at work", Windows, windows, [belaypin.WindowRow]),
    Endpoint("/api/gaps", "Gaps in coverage", Rows, gaps, [belaypin.GapRow]),
    Endpoint("/api/items", "Ids in the ledger of a stream", Items, items, [belaypin.ItemRow]),
    Endpoint("/api/operations", "Operations", Operations, operations, [belaypin.OperationRow]),
    Endpoint("/api/operation", "One operation", OneOperation, operation, belaypin.Operation),
    Endpoint("/api/plan", "The recovery plan", Planned, plan, belaypin.Plan),
    Endpoint("/api/failures", "Failures", Failed, failures, [belaypin.Failure]),
    Endpoint(
        "/api/failure-groups", "Failures by error", Grouped, failure_groups, belaypin.FailureGroups
    ),
    Endpoint("/api/failure", "One failure", OneFailure, failure, belaypin.Failure),
    Endpoint("/api/coverage", "Coverage of a stream", OfKey, coverage, None),
    Endpoint("/api/checkpoint", "The state at a Key", OfKey, checkpoint, belaypin.Checkpoint),
    Endpoint("/api/history", "Versions of a state", History, history, [belaypin.Version]),
    Endpoint("/api/diff", "Differences of two versions", Diff, diff, None),
    Endpoint("/api/explain", "Why it was skipped", Explain, explain, belaypin.Explanation),
    Endpoint("/api/audit", "What was done", Audit, audit, [belaypin.AuditEntry]),
)
