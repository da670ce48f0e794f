"""``belaypin retry``, ``skip`` and ``quarantine``: what a person does about items that failed."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Literal

import click

import belaypin
from belaypin.cli.call import ITEM, KEY, Call, Sure, asks_first, on_store
from belaypin.cli.text import cell, path

__all__ = ["quarantine_command", "retry_command", "skip_command"]

Word = Literal["waiting", "quarantined"]

_COUNTED = 10_000
_SHOWN = 20


def _chooses(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which failures are chosen, and call it with `_Chosen`."""

    @click.argument("key", type=KEY, required=False)
    @click.option("--id", "failure_id", type=int, help="This failure only.")
    @click.option("--status", type=click.Choice(["waiting", "quarantined"]))
    @click.option("--error", metavar="TEXT", help="Those whose error begins so.")
    @wraps(function)
    def command(
        call: Call,
        store: belaypin.Store,
        *,
        key: belaypin.Key | None,
        failure_id: int | None,
        status: Word | None,
        error: str | None,
        **given: Any,
    ) -> Any:
        parts = (*(key.parts if key is not None else ()), None, None, None)
        where = {"pipeline": parts[0], "entity": parts[1], "stream": parts[2]}
        chosen = _Chosen(store, failure_id, {**where, "status": status, "error": error})
        return function(call, store, chosen=chosen, **given)

    return command


class _Chosen:
    """The failures that an act is for: one, or those of a key, a status or an error."""

    def __init__(
        self, store: belaypin.Store, failure_id: int | None, where: dict[str, Any]
    ) -> None:
        if failure_id is not None:
            one = store.failure(failure_id)
            self.found = [] if one is None else [one]
            self.given: dict[str, Any] = {"failure_id": failure_id}
            return
        if not any(where.values()):
            raise belaypin.UsageError("Say which: a KEY, --id, --status or --error.")
        self.found = store.failures(**where, limit=_COUNTED)
        self.given = where

    def sure(self, sure: Sure, verb: str) -> bool:
        """Show what would be done, and ask."""
        count = f"{len(self.found)}{' or more' if len(self.found) == _COUNTED else ''} failed items"
        rows = [
            f"  {f.failure_id}  {path(f.key)}  {cell(f.item_id)}  {f.error}" for f in self.found
        ]
        more = ["  ..."] if rows[_SHOWN:] else []
        text = "\n".join([f"would {verb} {count}:", *rows[:_SHOWN], *more])
        data = {"dry_run": True, "items": len(self.found), "failures": self.found}
        return sure(data, text, f"{verb.capitalize()} {count}?")


@click.command("retry")
@on_store("write")
@asks_first
@_chooses
def retry_command(call: Call, store: belaypin.Store, *, chosen: _Chosen, sure: Sure) -> None:
    """Have failed items tried again, with all their attempts, by the next run of their stream."""
    if chosen.sure(sure, "retry"):
        done = store.replay(**chosen.given)
        call.show.record({"dry_run": False, "items": done}, f"{done} items will be tried again.")


@click.command("skip")
@click.option("--item", "item_id", type=ITEM, help="With --id: the id of an item that has none.")
@on_store("write")
@asks_first
@_chooses
def skip_command(
    call: Call, store: belaypin.Store, *, chosen: _Chosen, sure: Sure, item_id: str | int | None
) -> None:
    """Give failed items up for good, as if they were processed. They never come back."""
    if chosen.sure(sure, "skip"):
        done = store.skip(**chosen.given, item_id=item_id)
        call.show.record({"dry_run": False, "items": done}, f"{done} items are given up.")


@click.command("quarantine")
@click.argument("key", type=KEY)
@click.argument("item", type=ITEM)
@click.option("--reason", required=True, help="Why, for whoever looks at it next.")
@on_store("write")
@asks_first
def quarantine_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key,
    item: str | int,
    reason: str,
    sure: Sure,
) -> None:
    """Withhold an ITEM of a stream until it is retried; it need not have been seen yet."""
    name = f"item {item!r} of {path(key)}"
    known = store.explain(key, item)
    if known.is_committed:
        raise belaypin.UsageError(f"{name} is committed already. {known}")
    preview = {"dry_run": True, "key": key, "item_id": item, "failure_id": None}
    if sure(preview, f"would quarantine {name}", f"Quarantine {name}?"):
        number = store.quarantine(key, item, reason)
        done = {"dry_run": False, "key": key, "item_id": item, "failure_id": number}
        call.show.record(done, f"{name} is quarantined: failure {number}.")
