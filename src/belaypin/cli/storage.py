"""``belaypin storage``: what takes up the space."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import Call, on_store

__all__ = ["storage_command"]

_KINDS = ("kind", "rows", "bytes", "raw_bytes", "ratio")


@click.command("storage")
@click.option("--pipeline", help="Of this pipeline only.")
@on_store("read")
def storage_command(call: Call, store: belaypin.Store, *, pipeline: str | None) -> None:
    """Rows and bytes of each kind of record, how well they are compressed, and the database's size.

    `belaypin gc --dry-run` says what could go.
    """
    storage = store.storage(pipeline=pipeline)

    def text() -> None:
        call.show.table(storage.kinds, _KINDS)
        click.echo(f"{storage.rows} rows, {storage.bytes} bytes of payload")
        click.echo(f"{storage.database_bytes} bytes: the whole database, with your own tables")

    call.show.record(storage, text)
