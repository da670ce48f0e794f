"""``belaypin gc`` and ``compact``: keep a store small."""

from __future__ import annotations

from typing import Any

import click
import msgspec

import belaypin
from belaypin.cli.call import KEY, Call, Sure, asks_first, on_store
from belaypin.cli.exits import STOPPED

__all__ = ["compact_command", "gc_command"]


@click.command("gc")
@click.option("--deadline", metavar="DURATION", help="Stop after this time, such as 10m.")
@click.option("--orphans", is_flag=True, help="Also drop records whose key is gone.")
@on_store("write")
@asks_first
def gc_command(
    call: Call, store: belaypin.Store, *, deadline: str | None, sure: Sure, orphans: bool
) -> int | None:
    """Drop what is no longer needed; never what prevents a duplicate.

    How long what is kept is set by [retention] in belaypin.toml (audit = "90d", samples =
    "1d", ...); else it is the default of belaypin.Retention. Exit 3 if the deadline left some.
    """
    given = {**call.settings.retention, **({"orphans": True} if orphans else {})}
    retention = _retention(given)
    preview = store.gc(retention, dry_run=True)
    if not sure(preview, str(preview), f"Drop {preview.rows} rows, {preview.bytes} bytes?"):
        return None
    report = store.gc(retention, deadline_s=deadline)
    call.show.record(report, str(report))
    return None if report.is_complete else STOPPED


def _retention(given: dict[str, Any]) -> belaypin.Retention:
    known = belaypin.Retention.__struct_fields__
    for name in given:
        if name not in known:
            raise belaypin.UsageError(f"[retention] has no {name!r}. There are {', '.join(known)}.")
    return msgspec.structs.replace(belaypin.Retention(), **given)


@click.command("compact")
@click.argument("key", type=KEY, required=False)
@click.option("--shrink", is_flag=True, help="Give the free space back to the disk as well.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be packed, and do nothing.")
@on_store("write")
def compact_command(
    call: Call, store: belaypin.Store, *, key: belaypin.Key | None, shrink: bool, dry_run: bool
) -> None:
    """Pack the small ledger segments of a key, or of the whole store, into large ones."""
    report = store.compact(key, dry_run=dry_run, shrink=shrink)
    call.show.record(report, str(report))
