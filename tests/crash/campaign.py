"""The kill campaign, and its figures in one table.

    python -m tests.crash.campaign --sqlite 2000 --postgres 300

Kills fall at random times (a quarter of them; each in a new process, whose time from its start to
its first new commit counts), at random lines, and before random statements. Two fifths of them fall on
one miner; a fifth on one that has everything switched on (components, failing items, messages,
horizons, recovery, savepoints); a fifth on two that fight for the same entities; a fifth on a live
and a backfill writer of the same streams. PostgreSQL runs with fsync on, as in production.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from belaypin.testing.sigkill import Report, campaign
from tests.crash.mine import FULL_MINER, MINER, Mine
from tests.services import Services, fresh_database

__all__ = ["COMPANIES", "kill", "main", "table"]

COMPANIES = {
    "one miner": (("main",), MINER, 0.4),
    "one miner, everything switched on": (("main",), FULL_MINER, 0.2),
    "two for the same entities": (("main", "main 2"), MINER, 0.2),
    "live and backfill": (("main", "live"), MINER, 0.2),
}


def kill(
    database: str, kills: int, postgres_url: str | None, *, seed: int, timeout_s: float = 300
) -> Iterator[tuple[str, Report]]:
    """Run the campaign on one database; yield what happened to each company of miners."""
    for company, (roles, miner, share) in COMPANIES.items():
        number = round(kills * share)
        with tempfile.TemporaryDirectory(prefix="belaypin-") as folder:
            mine = Mine(Path(folder), postgres_url, roles=roles, miner=miner)
            report = campaign(
                mine.fresh,
                mine.verify,
                at_random=number // 4,
                at_statements=number * 3 // 10,
                at_lines=number - number // 4 - number * 3 // 10,
                seed=seed,
                timeout_s=timeout_s,
            )
        yield f"{database}, {company}", report


def table(rows: Sequence[tuple[str, Report]]) -> str:
    """The figures as a Markdown table."""
    total = Report()
    for _, report in rows:
        total.add(report)
    cells = [["", *Report.HEADINGS]]
    cells += [[name, *report.row()] for name, report in (*rows, ("all", total))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.campaign", description=__doc__)
    parser.add_argument("--sqlite", type=int, default=2000, metavar="KILLS")
    parser.add_argument("--postgres", type=int, default=300, metavar="KILLS")
    parser.add_argument("--seed", type=int, default=1, help="chooses where the kills fall")
    options = parser.parse_args(arguments)
    rows: list[tuple[str, Report]] = []
    started_s = time.monotonic()
    if options.sqlite:
        rows += _shown(kill("SQLite", options.sqlite, None, seed=options.seed))
    if options.postgres:
        with Services() as services:
            server = services.postgres_in_production
            _say(f"{server.name}: {server.origin}", sys.stderr)
            with fresh_database(server.url) as url:
                rows += _shown(kill("PostgreSQL", options.postgres, url, seed=options.seed))
    with tempfile.TemporaryDirectory() as folder:
        mine = Mine(Path(folder))
        _say(f"{mine.items} items a round, from {mine.dump.name}\n")
    _say(table(rows))
    _say(f"\nseed {options.seed}, {time.monotonic() - started_s:.0f} s in all")
    return int(any(report.lost or report.doubled for _, report in rows))


def _shown(reports: Iterator[tuple[str, Report]]) -> list[tuple[str, Report]]:
    rows = []
    for name, report in reports:
        _say(f"{name}: {report}", sys.stderr)
        rows.append((name, report))
    return rows


def _say(text: str, stream: TextIO = sys.stdout) -> None:
    stream.write(f"{text}\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
