"""Failures and quarantine: in groups by error, their trend, and one with its traceback and item."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from msgspec import Meta

from belaypin import UsageError
from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View
from belaypin.web.words import asked

__all__ = ["ONE", "PAGE", "Failures"]


class Failures(Params, frozen=True, kw_only=True):
    """What to choose by, as ``store.failures`` has it; ``before``: groups of older ones only."""

    pipeline: str | None = None
    entity: str | None = None
    stream: str | None = None
    status: Literal["waiting", "quarantined"] | None = None
    error: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None

    @property
    def chosen(self) -> dict[str, Any]:
        """The filter, without the page."""
        return {
            "pipeline": self.pipeline,
            "entity": self.entity,
            "stream": self.stream,
            "status": self.status,
            "error": self.error,
        }

    @property
    def asked(self) -> str:
        """The same choice, as the command line takes it."""
        named = {name: value or None for name, value in self.chosen.items()}
        return asked("", state=named.pop("status"), **named)


class One(Params, frozen=True, kw_only=True):
    """``id``: that of the failure."""

    id: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


async def build(view: View, params: Failures) -> dict[str, Any]:
    """The failures of one page, and the groups of all that fit, a stretch of them at a time."""
    store = view.store
    found, rows = await asyncio.gather(
        store.failure_groups(**params.chosen, before=params.before),
        store.failures(**params.chosen, limit=params.limit, after=params.after),
    )
    return {
        "rows": rows,
        "found": found,
        "job": view.dashboard.jobs.newest("failures"),
        "next": rows[-1].failure_id if len(rows) == params.limit else None,
        "is_filtered": any(params.chosen.values()),
        "command": view.command("failures", params.asked),
        "groups_command": view.command("failures", params.asked, by_error=True),
    }


async def build_one(view: View, params: One) -> dict[str, Any]:
    """One failure with its item."""
    if params.id is None:
        raise UsageError("Which failure? Its page needs an `id`.")
    failure = await view.store.failure(params.id)
    if failure is None:
        raise UsageError(f"There is no failure {params.id} any more: it was replayed or skipped.")
    return {"failure": failure, "command": view.command("failures", id=params.id)}


PAGE = Page("/failures", "Failures", "failures.html", Failures, build, nav="Failures")
ONE = Page("/failure", "Failure", "failure.html", One, build_one)
