"""``belaypin backfill``, ``reset``, ``rewind``, ``fork`` and savepoints: time travel."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import click

import belaypin
from belaypin.cli.bulk import act_on
from belaypin.cli.call import KEY, TIME, Call, Sure, asks_first, on_store
from belaypin.cli.targets import Target, takes_target
from belaypin.cli.text import path

__all__ = [
    "backfill_command",
    "fork_command",
    "reset_command",
    "rewind_command",
    "savepoint_command",
    "savepoints_command",
]

_force = click.option("--force", is_flag=True, help="Fence a worker that is at it, do not refuse.")


@click.command("backfill")
@takes_target
@click.option("--since", type=TIME, required=True, help="From this time on.")
@click.option("--until", type=TIME, required=True, help="Up to, but without, this time.")
@_force
@on_store("write")
@asks_first
def backfill_command(
    call: Call,
    store: belaypin.Store,
    *,
    target: Target,
    since: datetime,
    until: datetime,
    sure: Sure,
    force: bool,
) -> int | None:
    """Have a stretch of time fetched again: of a KEY, or of all that a FILTER picks.

    It becomes a gap, to which the next run goes first. Items that the ledger knows are skipped.
    """
    act = partial(store.reopen, since=since, until=until, force=force)
    return act_on(call, store, target, "backfill", act, sure)


@click.command("reset")
@takes_target
@_force
@on_store("write")
@asks_first
def reset_command(
    call: Call, store: belaypin.Store, *, target: Target, sure: Sure, force: bool
) -> int | None:
    """Take a KEY, or each entity that a FILTER picks, back to its beginning.

    Everything is fetched, and handed to your code, again. Rows in your own tables stay. A filter
    with stream:NAME in it picks streams.
    """
    return act_on(call, store, target, "reset", partial(store.reset, force=force), sure)


@click.command("rewind")
@takes_target
@click.option(
    "--to", required=True, metavar="NAME|VERSION", help="A savepoint, or a state's version."
)
@_force
@on_store("write")
@asks_first
def rewind_command(
    call: Call, store: belaypin.Store, *, target: Target, to: str, sure: Sure, force: bool
) -> int | None:
    """Take a KEY (or each entity of a FILTER) back to a savepoint, or a state to a version.

    A number is a version, unless there is a savepoint of that name. Rows in your own tables stay.
    """
    is_version = to.isdecimal() and all(each.name != to for each in store.savepoints())
    act = partial(store.rewind, to=int(to) if is_version else to, force=force)
    return act_on(call, store, target, "rewind", act, sure)


@click.command("savepoint")
@click.argument("key", type=KEY)
@click.argument("name")
@click.option("--note", default="", help="What it is for.")
@click.option("--drop", is_flag=True, help="Forget it instead.")
@on_store("write")
def savepoint_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key, name: str, note: str, drop: bool
) -> None:
    """Keep how an entity or a pipeline stands now, to rewind to it later."""
    if drop:
        store.drop_savepoint(key, name)
        call.show.record({"key": key, "name": name, "dropped": True}, f"{name} is dropped.")
        return
    made = store.savepoint(key, name, note=note)
    call.show.record(made, f"{name}: {made.entities} entities of {path(key)} are kept.")


@click.command("savepoints")
@click.argument("key", type=KEY, required=False)
@on_store("read")
def savepoints_command(call: Call, store: belaypin.Store, *, key: belaypin.Key | None) -> None:
    """The savepoints at a key and beneath it, the newest first."""
    columns = ("key", "name", "created_at", "entities", "is_whole", "note")
    call.show.rows(store.savepoints(key), columns, empty="No savepoints.")


@click.command("fork")
@click.argument("key", type=KEY)
@click.argument("new_key", type=KEY)
@on_store("write")
def fork_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key, new_key: belaypin.Key
) -> None:
    """Copy how an entity or a whole pipeline stands to NEW_KEY, at which there must be nothing.

    States, history, ledger and coverage are copied; rows in your own tables are not. From then on
    the two know nothing of each other. If it was interrupted, the same call goes on.
    """
    made = store.fork(key, new_key)
    text = (
        f"{path(key)} is copied to {path(new_key)}: {made.entities} entities, {made.items} items."
    )
    call.show.record(made, text)
