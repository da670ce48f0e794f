"""``belaypin backfill``, ``reset``, ``rewind`` and savepoints: back in time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import click

import belaypin
from belaypin.cli.call import KEY, TIME, Call, Sure, asks_first, on_store
from belaypin.cli.text import path

__all__ = [
    "backfill_command",
    "reset_command",
    "rewind_command",
    "savepoint_command",
    "savepoints_command",
]

_force = click.option("--force", is_flag=True, help="Fence a worker that is at it, do not refuse.")


def _go_back(
    call: Call, sure: Sure, verb: str, key: belaypin.Key, act: Callable[..., belaypin.Rewound]
) -> None:
    """Show what an act would take back, ask, and do it."""
    preview = act(dry_run=True)
    question = (
        f"{verb.capitalize()} {path(key)}: {preview.entities} entities, "
        f"{preview.items_forgotten} items forgotten?"
    )
    if sure(preview, str(preview), question):
        done = act()
        call.show.record(done, str(done))


@click.command("backfill")
@click.argument("key", type=KEY)
@click.option("--since", type=TIME, required=True, help="From this time on.")
@click.option("--until", type=TIME, required=True, help="Up to, but without, this time.")
@_force
@on_store("write")
@asks_first
def backfill_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key,
    since: datetime,
    until: datetime,
    sure: Sure,
    force: bool,
) -> None:
    """Have a stretch of time fetched again: of a stream, an entity or a pipeline.

    It becomes a gap, to which the next run goes first. Items that the ledger knows are skipped.
    """

    _go_back(call, sure, "backfill", key, partial(store.reopen, key, since, until, force=force))


@click.command("reset")
@click.argument("key", type=KEY)
@_force
@on_store("write")
@asks_first
def reset_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key, sure: Sure, force: bool
) -> None:
    """Take a stream, an entity or a pipeline back to its beginning.

    Everything is fetched, and handed to your code, again. Rows in your own tables stay.
    """

    _go_back(call, sure, "reset", key, partial(store.reset, key, force=force))


@click.command("rewind")
@click.argument("key", type=KEY)
@click.option(
    "--to", required=True, metavar="NAME|VERSION", help="A savepoint, or a state's version."
)
@_force
@on_store("write")
@asks_first
def rewind_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key, to: str, sure: Sure, force: bool
) -> None:
    """Take a key back to a savepoint, or its state to an earlier version.

    A number is a version, unless there is a savepoint of that name. Rows in your own tables stay.
    """
    names = {each.name for each in store.savepoints(belaypin.Key(*key.parts[:2]))}
    names |= {each.name for each in store.savepoints(belaypin.Key(key.pipeline))}
    target: str | int = int(to) if to.isdecimal() and to not in names else to

    _go_back(call, sure, "rewind", key, partial(store.rewind, key, to=target, force=force))


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
    made: Any = store.savepoint(key, name, note=note)
    text = f"{name}: {made.entities} entities of {path(key)} are kept."
    call.show.record(made, text)


@click.command("savepoints")
@click.argument("key", type=KEY, required=False)
@on_store("read")
def savepoints_command(call: Call, store: belaypin.Store, *, key: belaypin.Key | None) -> None:
    """The savepoints at a key and beneath it, the newest first."""
    columns = ("key", "name", "created_at", "entities", "is_whole", "note")
    call.show.rows(store.savepoints(key), columns, empty="No savepoints.")
