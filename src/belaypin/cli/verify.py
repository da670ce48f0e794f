"""``belaypin verify``: is every record what belaypin wrote."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import KEY, Call, on_store
from belaypin.cli.exits import NOT_SO

__all__ = ["verify_command"]


@click.command("verify")
@click.argument("key", type=KEY, required=False)
@on_store("read")
def verify_command(call: Call, store: belaypin.Store, key: belaypin.Key | None) -> int:
    """Read every record, of the whole store or of a pipeline or an entity; exit 1 on an error.

    Nothing is changed, and workers go on meanwhile. Each finding says what to do about it.
    """
    if key is not None and key.stream:
        raise belaypin.UsageError("verify reads an entity or a pipeline: leave the stream out.")
    entity = key.entity or None if key is not None else None
    report = store.verify(pipeline=key.pipeline if key is not None else None, entity=entity)
    call.show.record(report, str(report))
    return 0 if report.ok else NOT_SO
