"""How figures are shown: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure

__all__ = ["as_json", "print_tables"]

_TITLES = {
    "tax": "Tax: time with belaypin / time of the same loop without (median of paired runs)",
    "bytes": "Bytes per item that belaypin adds to the database (500 a page)",
    "skip": "Skip rate: a second run over the same data, the ledger read anew (500 a page)",
    "growth": "Growth: the tax further along one stream (500 a page)",
    "hash": "Fingerprint: CPU time of one / of the bare C encoder and SHA-256 on the same document",
    "saves": "Loose saves: a writer with eight threads against one commit for each state",
    "fixed": "Fixed costs",
    "engines": "Engines: 20,000 items of 40 entities, 100 a page, by a pipeline",
    "listing": "Listing: a page of a hundred rows, in every order and with every filter",
    "dashboard": "Dashboard: pages over HTTP, and a writer beside five open ones",
    "new_user": "A new user: from nothing to a drilled pipeline of their own, typed one after the other",
    "recovery": "Recovery: planning in a store in which one entity in a hundred is open",
}


def print_tables(figures: Iterable[Figure], machine: Mapping[str, str]) -> None:
    """One table a section, on standard output."""
    console = Console(width=140, highlight=False)
    for what, is_so in machine.items():
        console.print(f"{what:>10}  {is_so}")
    for section, members in groupby(figures, key=lambda figure: figure.section):
        console.print()
        console.print(_table(_TITLES[section], members))


def as_json(figures: Iterable[Figure], machine: Mapping[str, str]) -> str:
    """The same as one JSON document."""
    listed = [{**asdict(figure), "is_met": figure.is_met} for figure in figures]
    return json.dumps({"machine": dict(machine), "figures": listed}, indent=2)


def _table(title: str, figures: Iterable[Figure]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("", min_width=52, no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for heading in ("min .. max", "CPU time", "aim", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.median),
            figure.unit,
            "" if figure.low == figure.high else f"{_number(figure.low)} .. {_number(figure.high)}",
            "" if figure.cpu is None else _number(figure.cpu),
            _aim(figure),
            {True: "met", False: "[bold]missed[/bold]", None: ""}[figure.is_met],
        )
    return table


def _aim(figure: Figure) -> str:
    if figure.at_most is not None:
        return f"<= {_number(figure.at_most)}"
    return "" if figure.at_least is None else f">= {_number(figure.at_least)}"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
