"""``belaypin get``, ``history`` and ``diff``: states, as they are and as they were."""

from __future__ import annotations

import json
from typing import Any

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.text import path, shown_lines

__all__ = ["diff_command", "get_command", "history_command"]


@click.command("get")
@click.argument("key", type=KEY)
@click.option("--version", type=int, help="The state that it had in this version.")
@on_store("read")
def get_command(
    call: Call, store: belaypin.Store, key: belaypin.Key, version: int | None
) -> int | None:
    """The checkpoint of a key: its state, its counters, its times. Exit 1 if there is none."""
    found = store.load(key, version=version, schema=_as_stored(store, key, version))
    if found is None:
        call.show.record(None, lambda: call.show.note(f"Nothing is stored at {path(key)}."))
        return NOT_SO
    call.show.record(found, lambda: _print(call, found))
    return None


def _as_stored(
    store: belaypin.Store, key: belaypin.Key, version: int | None
) -> belaypin.Schema | None:
    """The schema of a state: a person reads it in the shape that it was saved in, whichever."""
    saved = store.history(key, limit=1, before=None if version is None else version + 1)
    number = saved[0].schema_version if saved else 0
    return belaypin.Schema(number) if number else None


def _print(call: Call, found: belaypin.Checkpoint[Any]) -> None:
    call.show.fields(found, without=("state",))
    click.echo(shown_lines(json.dumps(found.state, indent=2, ensure_ascii=False)))


@click.command("history")
@click.argument("key", type=KEY)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--after", type=int, metavar="VERSION", help="Go on behind this version.")
@on_store("read")
def history_command(
    call: Call, store: belaypin.Store, key: belaypin.Key, limit: int, after: int | None
) -> None:
    """The states that a key has and had, the newest first."""
    found = store.history(key, limit=limit + 1, before=after)
    rows = found[:limit]
    columns = ("version", "saved_at", "reason", "size", "schema_version", "is_readable")
    call.show.rows(
        rows,
        columns,
        after=str(rows[-1].version) if len(found) > limit else None,
        empty=f"Nothing is stored at {path(key)}.",
    )


@click.command("diff")
@click.argument("key", type=KEY)
@click.argument("old", type=int)
@click.argument("new", type=int, required=False)
@on_store("read")
def diff_command(
    call: Call, store: belaypin.Store, key: belaypin.Key, old: int, new: int | None
) -> None:
    """Where the state of version NEW (default: the present one) differs from version OLD."""
    found = store.diff(key, old, new)
    call.show.rows(found, ("path", "kind", "before", "after"), empty="No difference.")
