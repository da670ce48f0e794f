"""``belaypin run``: run a pipeline of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

import belaypin
from belaypin.cli.call import Call, shows
from belaypin.cli.text import length, shown

if TYPE_CHECKING:
    from belaypin.pipeline import Progress

__all__ = ["pipeline_of", "run_command"]


@click.command("run")
@click.argument("reference", metavar="[MODULE:PIPELINE]", required=False)
@click.option(
    "--engine",
    default="threads:4",
    show_default=True,
    help="serial, threads:N, processes:N, dask or ray.",
)
@click.option("--entity", "entities", multiple=True, help="This entity only; may be repeated.")
@click.option("--deadline", metavar="DURATION", help="Stop after this time, such as 50m.")
@click.option(
    "--grace",
    metavar="DURATION",
    default="10s",
    show_default=True,
    help="How long it may take to commit what is in hand when it is stopped.",
)
@click.option(
    "--live", is_flag=True, help="Listen to live events too, and go on until it is stopped."
)
@click.option(
    "--every",
    metavar="DURATION",
    default="1m",
    show_default=True,
    help="With --live: visit all entities again so often.",
)
@click.option("--no-progress", is_flag=True, help="Say nothing until it has ended.")
@shows
def run_command(
    call: Call,
    *,
    reference: str | None,
    engine: str,
    entities: tuple[str, ...],
    deadline: str | None,
    grace: str,
    live: bool,
    every: str,
    no_progress: bool,
) -> int:
    """Run a pipeline: every entity that is due, each under its lease, until all is done.

    MODULE:PIPELINE names a belaypin.Pipeline, importable from here; without it, what is set as
    pipeline in belaypin.toml. SIGTERM and Ctrl-C commit what is in hand and release the leases; a
    second one ends it at once, and nothing is lost by that. What remains is printed.

    Exit 0: all is done. 1: items or entities failed; they are tried again when they are due. 3: it
    was stopped or the deadline came, and work is left: run it again.
    """
    is_quiet = no_progress or call.show.form != "text"
    with call.show.alone(), _progress(is_quiet=is_quiet) as progress:
        pipeline = pipeline_of(call, reference)
        report = pipeline.run(
            call.store_url(pipeline.store),
            engine=engine,
            entities=entities or None,
            deadline_s=deadline,
            grace_s=grace,
            progress=progress,
            live=live,
            every=every,
        )
    call.show.record(report, str(report))
    return report.exit_code


def pipeline_of(call: Call, reference: str | None) -> belaypin.Pipeline:
    """The pipeline that is meant: the one named, or the one that is set."""
    from belaypin.pipeline import load

    name = reference or call.settings.pipeline
    if name is None:
        raise belaypin.UsageError(
            'Which pipeline? Name it, as MODULE:PIPELINE, or write pipeline = "module:pipeline" in '
            "belaypin.toml."
        )
    return load(name)


@contextmanager
def _progress(*, is_quiet: bool) -> Iterator[Callable[[Progress], Any] | None]:
    """What a run tells while it goes on: a line on a terminal, else nothing."""
    if is_quiet:
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Live(Text("starting"), console=console, transient=True, auto_refresh=False) as live:
        yield lambda progress: live.update(Text(_line(progress)), refresh=True)


def _line(progress: Progress) -> str:
    from datetime import timedelta

    remaining = "?" if progress.remaining is None else progress.remaining
    lag = "-" if progress.lag_s is None else length(timedelta(seconds=progress.lag_s))
    return shown(
        f"{progress.items_per_s:,.0f} items/s, {progress.items:,} done, {progress.skipped:,} "
        f"skipped, {progress.failed:,} failed; entities: {progress.entities_done} done, "
        f"{progress.entities_at_work} at work, {remaining} remaining; lag {lag}"
    )
