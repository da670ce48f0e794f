"""``belaypin lag``, ``gaps`` and ``coverage``: which time is processed, and which is not."""

from __future__ import annotations

from datetime import datetime

import click

import belaypin
from belaypin.cli.call import KEY, TIME, Call, on_store, pages
from belaypin.cli.targets import Target, takes_target

__all__ = ["coverage_command", "gaps_command", "lag_command"]

_INTERVAL = ("start", "end", "duration")


@click.command("lag")
@takes_target
@pages
@on_store("read")
def lag_command(
    call: Call, store: belaypin.Store, *, target: Target, limit: int, after: str | None
) -> None:
    """How far streams are behind, the furthest first: of all, of a KEY, or of a FILTER."""
    found = store.streams(target.filter, order="lag", limit=limit, after=after)
    call.show.listing(found, ("lag", "key", "status", "head"), empty="Nothing is covered.")


@click.command("gaps")
@takes_target
@click.option(
    "--since", type=TIME, help="Of one stream: from this time, not the first covered one."
)
@click.option("--until", type=TIME, help="Of one stream: to this time, not the last covered one.")
@pages
@on_store("read")
def gaps_command(
    call: Call,
    store: belaypin.Store,
    *,
    target: Target,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    after: str | None,
) -> None:
    """The holes in the coverage of streams: of all, of a KEY, or of a FILTER.

    The next run of a stream goes to its gaps first.
    """
    if since is None and until is None:
        found = store.gap_list(target.filter, limit=limit, after=after)
        call.show.listing(found, ("key", *_INTERVAL), empty="No gaps.")
        return
    key = target.one_key("gaps with --since or --until")
    rows = [
        belaypin.GapRow(key=key, start=gap.start, end=gap.end, duration=gap.duration)
        for gap in store.gaps(key, since=since, until=until)
    ]
    call.show.rows(rows, ("key", *_INTERVAL), empty="No gaps.")


@click.command("coverage")
@click.argument("key", type=KEY)
@on_store("read")
def coverage_command(call: Call, store: belaypin.Store, key: belaypin.Key) -> None:
    """The event time of a stream that is wholly processed, as half-open intervals."""
    call.show.rows(store.coverage(key), _INTERVAL, empty="Nothing is covered.")
