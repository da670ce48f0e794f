"""``belaypin audit``: who changed history, and how."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store

__all__ = ["audit_command"]


@click.command("audit")
@click.argument("key", type=KEY, required=False)
@click.option("--actor", metavar="TEXT", help="Only by those with this in their names.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--after", type=int, metavar="NUMBER", help="Go on behind this entry.")
@on_store("read")
def audit_command(
    call: Call,
    store: belaypin.Store,
    *,
    key: belaypin.Key | None,
    actor: str | None,
    limit: int,
    after: int | None,
) -> None:
    """Rewinds, resets, replays and the like, at KEY and beneath it, the newest first."""
    found = store.audit(key, actor=actor, limit=limit + 1, before=after)
    rows = found[:limit]
    columns = ("number", "at", "actor", "action", "key", "detail")
    more = str(rows[-1].number) if len(found) > limit else None
    call.show.rows(rows, columns, after=more, empty="Nothing was done to history.")
