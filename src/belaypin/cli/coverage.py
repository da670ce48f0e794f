"""``belaypin lag``, ``gaps`` and ``coverage``: which time is processed, and which is not."""

from __future__ import annotations

from datetime import datetime

import click

import belaypin
from belaypin.cli.call import KEY, TIME, Call, on_store
from belaypin.cli.text import length, path

__all__ = ["coverage_command", "gaps_command", "lag_command"]

_COLUMNS = ("start", "end", "duration")


@click.command("lag")
@click.argument("key", type=KEY)
@on_store("read")
def lag_command(call: Call, store: belaypin.Store, key: belaypin.Key) -> None:
    """How far a pipeline, an entity or a stream is behind: the stream that is furthest."""
    status = store.status(key)
    text = "-" if status.lag is None else f"{length(status.lag)}  {path(status.lag_key or key)}"
    call.show.record({"key": key, "lag": status.lag, "lag_key": status.lag_key}, text)


@click.command("gaps")
@click.argument("key", type=KEY)
@click.option("--since", type=TIME, help="Look from this time on.  Default: the first covered one.")
@click.option("--until", type=TIME, help="Look up to this time. Default: the last covered one.")
@on_store("read")
def gaps_command(
    call: Call,
    store: belaypin.Store,
    key: belaypin.Key,
    since: datetime | None,
    until: datetime | None,
) -> None:
    """The holes in the coverage of a stream. The next run goes there first."""
    gaps = store.gaps(key, since=since, until=until)
    call.show.rows(gaps, _COLUMNS, empty="No gaps.")


@click.command("coverage")
@click.argument("key", type=KEY)
@on_store("read")
def coverage_command(call: Call, store: belaypin.Store, key: belaypin.Key) -> None:
    """The event time of a stream that is wholly processed, as half-open intervals."""
    call.show.rows(store.coverage(key), _COLUMNS, empty="Nothing is covered.")
