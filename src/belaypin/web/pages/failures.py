"""Failures and quarantine: in groups by error, their trend, and one with its traceback and item."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import Meta

from belaypin import Failure, UsageError
from belaypin.web.page import LIMIT, MAX_LIMIT, Page, Params, View
from belaypin.web.words import asked

__all__ = ["ONE", "PAGE", "Failures"]

GROUPED = 2_000
"""So many failures are read to group them; beyond it the page says so."""
BUCKETS = 24

_KIND = re.compile(r"[\w.]+(?=:|$)")


class Failures(Params, frozen=True, kw_only=True):
    """What to choose by, as ``store.failures`` has it."""

    pipeline: str | None = None
    entity: str | None = None
    stream: str | None = None
    status: Literal["waiting", "quarantined"] | None = None
    error: str | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = LIMIT
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0

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


class Group(NamedTuple):
    """Failures whose error is of one class."""

    error: str
    example: str
    total: int
    waiting: int
    quarantined: int
    newest: datetime


async def build(view: View, params: Failures) -> dict[str, Any]:
    """The failures of one page, and the groups of the first ones."""
    store = view.store
    read = await store.failures(**params.chosen, limit=GROUPED)
    rows = read[: params.limit]
    if params.after:
        rows = await store.failures(**params.chosen, limit=params.limit, after=params.after)
    more = len(rows) == params.limit
    return {
        "rows": rows,
        "groups": grouped(read),
        "trend": trend(read, view.now),
        "is_all": len(read) < GROUPED,
        "count": len(read),
        "next": rows[-1].failure_id if rows and more else None,
        "is_filtered": any(params.chosen.values()),
        "command": view.command("failures", params.asked),
    }


async def build_one(view: View, params: One) -> dict[str, Any]:
    """One failure with its item."""
    if params.id is None:
        raise UsageError("Which failure? Its page needs an `id`.")
    failure = await view.store.failure(params.id)
    if failure is None:
        raise UsageError(f"There is no failure {params.id} any more: it was replayed or skipped.")
    return {"failure": failure, "command": view.command("failures", id=params.id)}


def grouped(failures: list[Failure]) -> list[Group]:
    """The failures by the class of their error, the most frequent first."""
    found: dict[str, list[Failure]] = {}
    for failure in failures:
        match = _KIND.match(failure.error)
        found.setdefault(match[0] if match else failure.error[:60], []).append(failure)
    groups = []
    for error, members in found.items():
        words = Counter(member.status for member in members)
        newest = max(member.last_failed_at for member in members)
        groups.append(
            Group(
                error,
                members[-1].error,
                len(members),
                words["waiting"],
                words["quarantined"],
                newest,
            )
        )
    return sorted(groups, key=lambda group: (-group.total, group.error))


def trend(failures: list[Failure], now: datetime) -> list[tuple[datetime, int]]:
    """How many failed first in each stretch of the time up to now."""
    if not failures:
        return []
    begin = min(failure.first_failed_at for failure in failures)
    step = max((now - begin) / BUCKETS, timedelta(seconds=1))
    counts = Counter(int((failure.first_failed_at - begin) / step) for failure in failures)
    return [(begin + n * step, counts[n]) for n in range(BUCKETS + 1) if begin + n * step <= now]


PAGE = Page("/failures", "Failures", "failures.html", Failures, build, nav="Failures")
ONE = Page("/failure", "Failure", "failure.html", One, build_one)
