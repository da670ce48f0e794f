"""``belaypin demo``: mine a git repository under SIGKILL and prove the result."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from belaypin.cli import INTERRUPTED
from belaypin.demo.errors import CannotRun, DemoError
from belaypin.demo.outside import is_sqlite, sqlite_path
from belaypin.demo.run import Options, Outcome, prove

__all__ = ["demo_command"]

_NOT_PROVEN = 1
_CANNOT_RUN = 2

_LOOK = "SELECT author, count(*) FROM demo_commits GROUP BY author ORDER BY 2 DESC LIMIT 10"
_PYTHON_LOOK = "import sqlite3; print(*sqlite3.connect({path!r}).execute({sql!r}), sep='\\n')"


@click.command("demo")
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    help="The git repository to mine. Default: the one around the current folder.",
)
@click.option(
    "--store",
    metavar="URL",
    help="sqlite:///demo.db or postgresql:///db. Default: a file in the repository's git folder.",
)
@click.option(
    "--kills",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How often to kill the miner, as long as there is work.",
)
@click.option("--seed", type=int, help="Draws the moments of the kills. Default: by chance.")
@click.option(
    "--page-size",
    type=click.IntRange(min=1),
    help="Items per commit. Default: enough pages for the kills, at most 500 items each.",
)
@click.option("--fresh", is_flag=True, help="Delete the default store first.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def demo_command(*, as_json: bool, **options: Any) -> None:
    """Mine the history of a git repository under SIGKILL, and prove the result.

    The miner is a child process that is killed at random moments and started again. Then git's own
    report is compared with the rows in the database. Run it again: there is nothing left to do.

    Exit codes: 0 nothing was lost or doubled; 1 something was, or nothing could be proven; 2 the
    call cannot work (no such repository, no git, no such store); 130 stopped by Ctrl-C.
    """
    # As after Ctrl-C: the miner is ended and the scratch files are removed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    try:
        with _Display(quiet=as_json) as display:
            outcome = prove(Options(**options), display)
    except KeyboardInterrupt:
        click.echo("Stopped. What was committed is safe: the same command goes on.", err=True)
        sys.exit(INTERRUPTED)
    except DemoError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_CANNOT_RUN if isinstance(error, CannotRun) else _NOT_PROVEN)
    if as_json:
        click.echo(json.dumps(_figures(outcome)))
    else:
        _show(outcome)
    sys.exit(0 if outcome.proven else _NOT_PROVEN)


class _Display:
    """Progress, on a terminal only, and remarks. Both go to the standard error."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[remark]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._progress.add_task("", remark="", visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def phase(self, name: str, steps: int | None) -> None:
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=steps, remark="")

    def advance(self, steps: int) -> None:
        self._progress.advance(self._task, steps)

    def killed(self, kills: int) -> None:
        self._progress.update(self._task, remark=f"kills {kills}")

    def note(self, text: str) -> None:
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _figures(outcome: Outcome) -> dict[str, float | None]:
    total, recoveries_s = outcome.total, outcome.recoveries_s
    return {
        "items": total.items,
        "expected": total.expected,
        "lost": total.lost,
        "duplicates": total.duplicates,
        "kills": outcome.kills,
        "recovery_p50_s": round(statistics.median(recoveries_s), 4) if recoveries_s else None,
        "recovery_max_s": round(max(recoveries_s), 4) if recoveries_s else None,
        "skipped": total.skipped,
    }


def _show(outcome: Outcome) -> None:
    table = Table("", box=box.SIMPLE_HEAD)
    for column in ("items", "expected", "lost", "duplicates"):
        table.add_column(column, justify="right")
    for tally in (*outcome.tallies, outcome.total):
        figures = (tally.items, tally.expected, tally.lost, tally.duplicates)
        table.add_row(tally.stream, *map(str, figures))
    Console().print(table)
    for line in (*_verdict(outcome), "", *_further(outcome)):
        click.echo(os.fsencode(line))  # a path need not be text


def _verdict(outcome: Outcome) -> Iterator[str]:
    total = outcome.total
    if not outcome.proven:
        yield f"NOT PROVEN: {total.lost} lost, {total.duplicates} too many."
    elif not total.expected:
        yield "This repository has no commits: there is nothing to mine."
    else:
        yield "Nothing was lost, nothing was doubled."
    if total.skipped and total.skipped == total.expected:
        yield f"All {total.skipped} items were there before: this run had nothing to do."
    elif total.skipped:
        yield f"{total.skipped} of the items were there before and were skipped."
    if total.gone:
        yield f"{total.gone} more rows are of what git reports no more: history was rewritten."
    yield f"Kills (SIGKILL): {outcome.kills}{_recovery(outcome.recoveries_s)}"


def _recovery(recoveries_s: tuple[float, ...]) -> str:
    if not recoveries_s:
        return ""
    middle, most = statistics.median(recoveries_s), max(recoveries_s)
    return f"; from restart to first new commit {middle:.2f} s (median), {most:.2f} s (most)"


def _further(outcome: Outcome) -> Iterator[str]:
    yield f"Repository:    {outcome.repo}"
    yield f"Store:         {outcome.store}"
    yield f"Look into it:  {_look(outcome.store)}"
    yield "Run it again:  the same command finds nothing left to do (more: --help)"
    yield f"This run:      --seed {outcome.seed}"


def _look(store: str) -> str:
    if not is_sqlite(store):
        return shlex.join(["psql", store, "-c", _LOOK])
    path = str(sqlite_path(store))
    if shutil.which("sqlite3"):
        return shlex.join(["sqlite3", path, _LOOK])
    return shlex.join([Path(sys.executable).name, "-c", _PYTHON_LOOK.format(path=path, sql=_LOOK)])
