"""``belaypin failures``: the items that were put aside."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

import belaypin
from belaypin.cli.call import Call, on_store
from belaypin.cli.chosen import exact_choice, failures_of
from belaypin.cli.exits import NOT_SO
from belaypin.cli.targets import Target, takes_target

__all__ = ["failures_command"]

_COLUMNS = ("failure_id", "status", "key", "item_id", "attempts", "last_failed_at", "error")

_TOGETHER = 20_000
_GROUPS = ("error", "total", "quarantined", "first_failed_at", "last_failed_at", "example")


@click.command("failures")
@takes_target
@click.option("--id", "failure_id", type=int, help="This one, with its payload and traceback.")
@click.option("--by-error", is_flag=True, help="In groups by the class of the error.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--after", type=int, default=0, metavar="ID", help="Go on behind this one.")
@on_store("read")
def failures_command(
    call: Call,
    store: belaypin.Store,
    *,
    target: Target,
    failure_id: int | None,
    by_error: bool,
    limit: int,
    after: int,
) -> int | None:
    """The items that were put aside, oldest first: of all, of a KEY, or of a FILTER.

    A FILTER may ask for pipeline, entity, stream, state (waiting for another try, or quarantined for
    a person to look at) and error, such as 'stream:posts error~429'. What ~ asks for is looked for in
    every failure that the rest of the filter leaves.
    """
    if failure_id is not None:
        return _one(call, store, failure_id)
    if by_error:
        _groups(call, store, target)
        return None
    found = list(islice(failures_of(store, target, after=after), limit + 1))
    rows = found[:limit]
    more = str(rows[-1].failure_id) if len(found) > limit else None
    call.show.rows(rows, _COLUMNS, after=more, empty="No item is put aside.")
    return None


def _groups(call: Call, store: belaypin.Store, target: Target) -> None:
    """All that fit, stretch by stretch."""
    given, choice = exact_choice(target)
    groups: dict[str, dict[str, Any]] = {}
    before: int | None = None
    while True:
        found = store.failure_groups(*given, **choice, limit=_TOGETHER, before=before)
        for each in found.groups:
            row = {name: getattr(each, name) for name in _GROUPS}
            known = groups.setdefault(each.error, {**row, "total": 0, "quarantined": 0})
            known["total"] += each.total
            known["quarantined"] += each.quarantined
            known["first_failed_at"] = min(known["first_failed_at"], each.first_failed_at)
            known["last_failed_at"] = max(known["last_failed_at"], each.last_failed_at)
        before = found.next
        if before is None:
            break
    rows = sorted(groups.values(), key=lambda row: (-row["total"], row["error"]))
    call.show.rows(rows, _GROUPS, empty="No item is put aside.")


def _one(call: Call, store: belaypin.Store, failure_id: int) -> int:
    found = store.failure(failure_id)
    if found is None:
        call.show.record(None, lambda: call.show.note(f"There is no failure {failure_id}."))
        return NOT_SO
    call.show.record(found, lambda: call.show.fields(found))
    return 0
