"""``belaypin outbox`` and ``redeliver``: messages that were sent with rows, and not yet delivered."""

from __future__ import annotations

from collections.abc import Iterator

import click

import belaypin
from belaypin.cli.call import Call, Sure, asks_first, on_store
from belaypin.cli.exits import NOT_SO
from belaypin.cli.text import cell

__all__ = ["outbox_command", "redeliver_command"]

_COLUMNS = ("id", "topic", "key", "status", "attempt", "created_at", "next_try_at", "error")
_PAGE = 500
_SHOWN = 20
_LISTED = 1_000


@click.command("outbox")
@click.argument("topic", required=False)
@click.option("--quarantined", is_flag=True, help="Only those that failed for good.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--after", type=int, default=0, metavar="ID", help="Go on behind this one.")
@on_store("read")
def outbox_command(
    call: Call,
    store: belaypin.Store,
    *,
    topic: str | None,
    quarantined: bool,
    limit: int,
    after: int,
) -> None:
    """The messages of all topics, or of TOPIC, that are not delivered, oldest first.

    They wait for a worker or for their next attempt, or they failed for good and are quarantined:
    `belaypin redeliver` has those tried again.
    """
    found = store.undelivered(
        topic, status="quarantined" if quarantined else None, after=after, limit=limit + 1
    )
    rows = found[:limit]
    more = str(rows[-1].id) if len(found) > limit else None
    call.show.rows(rows, _COLUMNS, after=more, empty="No message waits.")


@click.command("redeliver")
@click.argument("topic")
@click.argument("keys", nargs=-1, metavar="[KEY...]")
@on_store("write")
@asks_first
def redeliver_command(
    call: Call, store: belaypin.Store, *, topic: str, keys: tuple[str, ...], sure: Sure
) -> int | None:
    """Have the quarantined messages of TOPIC tried again, from their first attempt.

    With KEYs, those only, and such as wait for their next attempt as well. The next worker that
    delivers the topic has them. Exit 1 if one of the KEYs does not wait.
    """
    found = list(_chosen(store, topic, keys))
    absent = sorted(set(keys) - {each.key for each in found})
    missing = [f"  {cell(key)} does not wait: delivered, dropped, or never sent" for key in absent]
    listed = [f"  {each.id}  {cell(each.key)}  {cell(each.error)}" for each in found[:_SHOWN]]
    more = ["  ..."] if found[_SHOWN:] else []
    count = f"{len(found)} messages of {topic}"
    preview = {"dry_run": True, "count": len(found), "messages": found[:_LISTED], "absent": absent}
    text = "\n".join([f"would redeliver {count}", *listed, *more, *missing])
    if not sure(preview, text, f"Redeliver {count}?"):
        return None
    done = sum(store.redeliver(topic, each.key) for each in found)
    text = "\n".join([f"redeliver: {done} messages", *missing])
    call.show.record({**preview, "dry_run": False, "count": done}, text)
    return NOT_SO if absent else None


def _chosen(store: belaypin.Store, topic: str, keys: tuple[str, ...]) -> Iterator[belaypin.Message]:
    """Those that are quarantined; with keys, the undelivered ones under these."""
    after = 0
    while True:
        page = store.undelivered(
            topic, status=None if keys else "quarantined", after=after, limit=_PAGE
        )
        yield from (each for each in page if not keys or each.key in keys)
        if len(page) < _PAGE:
            return
        after = page[-1].id
