"""``belaypin health``: the figures of a store."""

from __future__ import annotations

import click

import belaypin
from belaypin.cli.call import Call, on_store

__all__ = ["health_command"]

_HISTORY = ("at", "items", "lag", "efficiency", "orphans", "stored_bytes", "compression_ratio")


@click.command("health")
@click.option("--pipeline", help="Of this pipeline only.")
@click.option(
    "--record", is_flag=True, help="Keep these figures, for --since. At most one a minute."
)
@click.option("--since", metavar="DURATION", help="What was recorded since then, such as 1d.")
@on_store("write")
def health_command(
    call: Call, store: belaypin.Store, pipeline: str | None, since: str | None, *, record: bool
) -> None:
    """Lag, efficiency, orphans, recovery time, storage and compression of a store."""
    if since is not None:
        found = store.health_history(since, pipeline=pipeline)
        call.show.rows(found, _HISTORY, empty="Nothing was recorded: see --record.")
        return
    if record:
        store.record_health(pipeline=pipeline)
    health = store.health(pipeline=pipeline)
    call.show.record(health, str(health))
