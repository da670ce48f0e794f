"""``belaypin init``: make a store."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import Call, on_store

__all__ = ["init_command"]


@click.command("init")
@on_store("create")
def init_command(call: Call, store: belaypin.Store) -> None:
    """Make the tables of a store; one that is there is brought up to date and kept.

    An SQLite file is made; a PostgreSQL database must exist (createdb).
    """
    url = call.hidden(call.store_url())
    call.show.record(
        {"store": url, "keys": store.health().keys, "source": call.settings.source},
        f"The store is ready: {url} ({store.health().keys} keys)",
    )
