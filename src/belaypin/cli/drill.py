"""``belaypin drill``: a pipeline of yours under SIGKILL, on copies of its store."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

import belaypin
from belaypin.cli.call import Call, shows
from belaypin.cli.exits import NOT_SO

if TYPE_CHECKING:
    from belaypin.drill import Options, Outcome, Watcher

__all__ = ["drill_command"]

_DEMO = "belaypin.demo.pipeline:pipeline"


@click.command("drill")
@click.argument("pipeline", metavar="MODULE:PIPELINE")
@click.option(
    "--kills", type=click.IntRange(min=1), default=20, show_default=True, help="How often to kill."
)
@click.option("--empty", is_flag=True, help="On an empty store, instead of a copy.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="TABLE[.COLUMN]",
    help="Don't compare this, as it differs from run to run. May be given more than once.",
)
@click.option("--engine", default="serial", show_default=True, help="serial or threads:N.")
@click.option("--seed", type=int, help="Draws the moments of the kills. Default: by chance.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Seconds that one run may take.",
)
@click.option("--no-record", is_flag=True, help="Keep the result out of the store's health.")
@shows
def drill_command(call: Call, pipeline: str, *, no_record: bool, **given: Any) -> int:
    """Run a pipeline on copies of its store, kill it again and again, and compare.

    Two runs that nobody disturbs come first: they must agree. Then processes are killed before and
    behind each commit, at random moments, statements and lines, and started again until the work is
    done; your tables, the ledger and the coverage are compared with those of an undisturbed run,
    by plain drivers. The real store is only read; the result is noted in it, for its health.

    "demo" as MODULE:PIPELINE mines the git repository around this folder. It sorts the history into a
    file in the .git folder, which is gone when it ends.
    """
    from belaypin.drill import CannotDrill, Options, drill

    is_demo = pipeline == "demo"
    pipeline = _DEMO if is_demo else pipeline
    # As after Ctrl-C: the processes are ended and the copies are dropped.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        with call.show.alone(), _progress(call) as watcher:
            options = Options(pipeline=pipeline, store=_store(call, pipeline, **given), **given)
            outcome = drill(options, watcher)
    except CannotDrill as error:
        raise belaypin.UsageError(str(error)) from error
    finally:
        if is_demo:
            _clean_up()
    if not no_record:
        _record(call, options, outcome)
    call.show.record(outcome, _text(outcome))
    return 0 if outcome.is_proven else NOT_SO


def _clean_up() -> None:
    """The history that the demo's processes have shared lies in the git folder: no longer."""
    from belaypin.demo.pipeline import clean_up

    clean_up()


def _store(call: Call, reference: str, *, empty: bool, **_: Any) -> str:
    """The store that is named, else the pipeline's own, else any for a drill on an empty one."""
    if call.settings.store is not None:
        return call.settings.store
    from belaypin.pipeline import load

    own = load(reference).store
    if own is None and empty:
        return "sqlite:///belaypin-drill.db"  # says only of what kind: it is never made
    return call.settings.url() if own is None else own


@contextmanager
def _progress(call: Call) -> Iterator[Watcher]:
    """A bar on a terminal, else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=call.show.form != "text" or not console.is_terminal,
    ) as progress:
        task = progress.add_task("Copying the store", total=None)

        def watch(what: str, kills: int, of: int) -> None:
            progress.update(task, description=what, completed=kills, total=of)

        yield watch


def _record(call: Call, options: Options, outcome: Outcome) -> None:
    """Note the result in the real store, if there is one."""
    try:
        with belaypin.open(options.store, create=False) as store:
            store.record_drill(
                outcome.pipeline,
                kills=outcome.kills,
                lost=outcome.lost + outcome.damaged,
                doubled=outcome.doubled,
                recovery_p50=outcome.recovery_p50_s,
                recovery_p99=outcome.recovery_p99_s,
            )
    except belaypin.UsageError:
        if not options.empty:
            raise
        call.show.note("Not recorded: there is no store. Its health will not know of this drill.")


def _text(outcome: Outcome) -> str:
    kinds = ", ".join(f"{number} at a {kind}" for kind, number in outcome.kills_by_kind.items())
    lines = [
        "Nothing was lost, nothing was doubled."
        if outcome.is_proven
        else f"NOT PROVEN: {outcome.lost} lost, {outcome.doubled} too many, {outcome.damaged} damaged.",
        f"Kills (SIGKILL): {outcome.kills} in {outcome.rounds} rounds on {outcome.at_store}: {kinds}",
    ]
    if outcome.rate_bound is not None:
        lines.append(
            f"So at most {outcome.rate_bound:.2%} of kills do harm (3 / {outcome.kills}, at 95 %)."
        )
    if outcome.recovery_p50_s is not None:
        lines.append(
            f"From start to first new commit: {outcome.recovery_p50_s:.2f} s (p50), "
            f"{outcome.recovery_p99_s:.2f} s (p99 of {outcome.recoveries})"
        )
    compared = ", ".join(f"{name} ({rows:,} rows)" for name, rows in outcome.tables.items())
    lines.append(f"Compared: {compared or 'no table of yours'}; ledger; coverage; failures")
    if outcome.put_aside:
        lines.append(f"Put aside with nobody killing: {outcome.put_aside:,} items that failed")
    lines.append(f"Not compared: {', '.join(outcome.not_compared)}")
    lines += [str(each) for each in outcome.differences]
    lines.append(f"This drill: --seed {outcome.seed}")
    return "\n".join(lines)
