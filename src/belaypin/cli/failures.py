"""``belaypin failures``: the items that were put aside."""

from __future__ import annotations

from typing import Literal

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store
from belaypin.cli.exits import NOT_SO

__all__ = ["failures_command"]

_COLUMNS = ("failure_id", "status", "key", "item_id", "attempts", "last_failed_at", "error")


@click.command("failures")
@click.argument("key", type=KEY, required=False)
@click.option("--id", "failure_id", type=int, help="This one, with its payload and traceback.")
@click.option("--status", type=click.Choice(["waiting", "quarantined"]))
@click.option("--error", metavar="TEXT", help="Those whose error begins so, such as ValueError.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--after", type=int, default=0, metavar="ID", help="Go on behind this one.")
@on_store("read")
def failures_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key | None,
    failure_id: int | None,
    status: Literal["waiting", "quarantined"] | None,
    error: str | None,
    limit: int,
    after: int,
) -> int | None:
    """The items that were put aside, oldest first; waiting for another try, or for a person."""
    if failure_id is not None:
        return _one(call, store, failure_id)
    parts = (*(key.parts if key is not None else ()), None, None, None)[:3]
    found = store.failures(*parts, status=status, error=error, limit=limit + 1, after=after)
    rows = found[:limit]
    more = str(rows[-1].failure_id) if len(found) > limit else None
    call.show.rows(rows, _COLUMNS, after=more, empty="No item is put aside.")
    return None


def _one(call: Call, store: belaypin.Store, failure_id: int) -> int:
    found = store.failure(failure_id)
    if found is None:
        call.show.record(None, lambda: call.show.note(f"There is no failure {failure_id}."))
        return NOT_SO
    call.show.record(found, lambda: call.show.fields(found))
    return 0
