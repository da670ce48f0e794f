"""``belaypin items``, ``leases``, ``orphans`` and ``operations``: what a store holds, in pages."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store, pages
from belaypin.cli.exits import NOT_SO
from belaypin.cli.show import Column
from belaypin.cli.targets import Target, takes_target, walk

__all__ = [
    "items_command",
    "leases_command",
    "operations_command",
    "orphans_command",
    "windows_command",
]

_LEASES = ("key", "role", "state", "host", "pid", "acquired_at", "expires_at", "deaths")
_WINDOWS: tuple[Column, ...] = (
    *("key", "role", "start", "end", "cursor", "covered_to", "moved_at"),
    ("lease", lambda row: None if row.lease is None else row.lease.state),
    ("since", lambda row: None if row.lease is None else row.lease.acquired_at),
    ("host", lambda row: None if row.lease is None else row.lease.host),
    ("pid", lambda row: None if row.lease is None else row.lease.pid),
)
_ORPHANS = ("key", "status", "items", "attempts", "lag", "updated_at", "error")
_OPERATIONS = ("id", "status", "is_abandoned", "attempts", "updated_at", "error")
_ATTEMPTS = ("number", "outcome", "started_at", "duration", "owner", "error")


@click.command("items")
@click.argument("key", type=KEY)
@click.option("--contains", metavar="TEXT", help="Only ids with this in them.")
@pages
@on_store("read")
def items_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key,
    contains: str | None,
    limit: int,
    after: str | None,
) -> None:
    """The ids that are committed to a stream, oldest first."""
    found = store.items(key, contains=contains, limit=limit, after=after)
    columns = ("item_id", "committed_by", "segment", "revision", "fingerprint")
    call.show.listing(found, columns, empty="No items.")


@click.command("leases")
@takes_target
@pages
@on_store("read")
def leases_command(
    call: Call, store: belaypin.Store, *, target: Target, limit: int, after: str | None
) -> None:
    """Who is at work: leases that are held, and those whose holder is gone (expired).

    A FILTER may ask for pipeline, entity, state (live, expired or released), role, owner, updated.
    """
    found = store.leases(target.filter, limit=limit, after=after)
    call.show.listing(found, _LEASES, empty="Nobody is at work.")


@click.command("windows")
@click.argument("key", type=KEY, required=False)
@pages
@on_store("read")
def windows_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key | None,
    limit: int,
    after: str | None,
) -> None:
    """Windows that were begun and are not finished: their cursors, and who is at them."""
    found = store.windows(key, limit=limit, after=after)
    call.show.listing(found, _WINDOWS, empty="No open windows.")


@click.command("orphans")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@on_store("read")
def orphans_command(call: Call, store: belaypin.Store, *, limit: int) -> None:
    """Work that was begun and that nobody is at: entities, and operations.

    The next run of a pipeline goes on with its entities; `belaypin recover` ends the operations.
    """
    entities = list(islice(walk(store.entities, "state:interrupted"), limit))
    running = walk(store.operations, status="running")
    operations = list(islice((each for each in running if each.is_abandoned), limit))

    def text() -> None:
        call.show.table(entities, _ORPHANS)
        call.show.table(operations, _OPERATIONS)
        if not entities and not operations:
            call.show.note("No orphans.")

    call.show.record({"entities": entities, "operations": operations}, text)


@click.command("operations")
@click.argument("operation_id", metavar="[ID]", required=False)
@click.option("--status", type=click.Choice(["running", "done", "failed"]))
@pages
@on_store("read")
def operations_command(
    call: Call,
    store: belaypin.Store,
    *,
    operation_id: str | None,
    status: Any,
    limit: int,
    after: str | None,
) -> int | None:
    """Operations that run once, by their ids; with an ID, that one and its attempts."""
    if operation_id is None:
        found = store.operations(status=status, limit=limit, after=after)
        call.show.listing(found, _OPERATIONS, empty="No operations.")
        return None
    operation = store.operation(operation_id)
    if operation is None:
        call.show.record(None, lambda: call.show.note(f"There is no operation {operation_id}."))
        return NOT_SO

    def text() -> None:
        call.show.fields(operation, without=("attempts",))
        call.show.table(operation.attempts, _ATTEMPTS)

    call.show.record(operation, text)
    return None
