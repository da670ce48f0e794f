"""``belaypin retry``, ``skip`` and ``quarantine``: what a person does about items that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

import belaypin
from belaypin.cli.call import ITEM, KEY, Call, Sure, asks_first, on_store
from belaypin.cli.chosen import failures_of
from belaypin.cli.targets import Target, takes_target
from belaypin.cli.text import cell, path

__all__ = ["quarantine_command", "retry_command", "skip_command"]

_SHOWN = 20
_LISTED = 1_000

_one = click.option("--id", "failure_id", type=int, help="This failure only.")


def _act(
    call: Call, found: list[belaypin.Failure], verb: str, act: Callable[..., int], sure: Sure
) -> None:
    """Show which failures are meant, ask, and do it to each of them."""
    count = f"{len(found)} failed items"
    rows = [f"  {f.failure_id}  {path(f.key)}  {cell(f.item_id)}  {f.error}" for f in found]
    more = ["  ..."] if rows[_SHOWN:] else []
    text = "\n".join([f"would {verb} {count}", *rows[:_SHOWN], *more])
    preview = {"dry_run": True, "items": len(found), "failures": found[:_LISTED]}
    if sure(preview, text, f"{verb.capitalize()} {count}?"):
        done = sum(act(failure_id=each.failure_id) for each in found)
        call.show.record({"dry_run": False, "items": done}, f"{verb}: {done} items")


def _chosen(
    store: belaypin.Store, target: Target, failure_id: int | None
) -> list[belaypin.Failure]:
    if (failure_id is None) is not bool(target):
        raise belaypin.UsageError(
            "Say which, either by --id, or by a key such as social/user:7, or by a filter such as "
            "'stream:posts error~429'. `belaypin failures` takes the same, and lists them."
        )
    if failure_id is None:
        return list(failures_of(store, target))
    one = store.failure(failure_id)
    return [] if one is None else [one]


@click.command("retry")
@takes_target
@_one
@on_store("write")
@asks_first
def retry_command(
    call: Call, store: belaypin.Store, *, target: Target, failure_id: int | None, sure: Sure
) -> None:
    """Have failed items tried again, with all their attempts, by the next run of their stream.

    Which: those of a KEY, or those that a FILTER picks, as `belaypin failures` lists them.
    """
    _act(call, _chosen(store, target, failure_id), "retry", store.replay, sure)


@click.command("skip")
@takes_target
@_one
@click.option("--item", "item_id", type=ITEM, help="With --id: the id of an item that has none.")
@on_store("write")
@asks_first
def skip_command(
    call: Call,
    store: belaypin.Store,
    *,
    target: Target,
    failure_id: int | None,
    item_id: str | int | None,
    sure: Sure,
) -> None:
    """Give failed items up for good, as if they were processed. They never come back.

    Which: those of a KEY, or those that a FILTER picks, as `belaypin failures` lists them.
    """
    if item_id is not None and failure_id is None:
        raise belaypin.UsageError("--item goes with --id.")
    found = _chosen(store, target, failure_id)

    def act(failure_id: int) -> int:
        return store.skip(failure_id=failure_id, item_id=item_id)

    _act(call, found, "skip", act, sure)


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
    preview: dict[str, Any] = {"dry_run": True, "key": key, "item_id": item, "failure_id": None}
    if sure(preview, f"would quarantine {name}", f"Quarantine {name}?"):
        number = store.quarantine(key, item, reason)
        done = {**preview, "dry_run": False, "failure_id": number}
        call.show.record(done, f"{name} is quarantined: failure {number}.")
