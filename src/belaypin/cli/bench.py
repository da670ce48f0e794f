"""``belaypin bench``: what checkpoints cost on your own database."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
import msgspec

import belaypin
from belaypin.cli.call import Call, shows
from belaypin.clock import monotonic_s, unique_id

__all__ = ["Tax", "bench_command"]

_TABLE = "CREATE TABLE bench_row (id BIGINT, text TEXT)"
_INSERT = {
    "sqlite": "INSERT INTO bench_row SELECT json_extract(value, '$.id'), "
    "json_extract(value, '$.text') FROM json_each(?)",
    "postgresql": "INSERT INTO bench_row SELECT id, text "
    "FROM json_to_recordset(%s) AS found(id BIGINT, text TEXT)",
}
_BEGIN = datetime(2024, 1, 1, tzinfo=UTC)

Page = list[dict[str, Any]]


class Tax(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; ``tax`` is the time with checkpoints over the time without."""

    store: str
    items: int
    page_items: int
    rounds: int
    plain_items_per_s: float
    items_per_s: float
    tax: float
    tax_least: float
    tax_most: float


@click.command("bench")
@click.option("--items", type=click.IntRange(min=1), default=20_000, show_default=True)
@click.option(
    "--page", "page_items", type=click.IntRange(1, 10_000), default=500, show_default=True
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@shows
def bench_command(call: Call, *, items: int, page_items: int, rounds: int) -> None:
    """Measure what checkpoints cost on your own database, in a few seconds.

    The same rows are stored page by page, a transaction each, with belaypin and without; the tax is
    how much longer it takes with it. It happens beside your store: in a file next to it, or in a
    schema of its own, which are removed.
    """
    url = call.store_url()
    pages = [
        [{"id": n, "text": f"row {n}"} for n in range(at, min(at + page_items, items))]
        for at in range(0, items, page_items)
    ]
    pairs = []
    for _ in range(rounds):
        with _scratch(url) as scratch:
            pairs.append((_plain_s(scratch, pages), _belaypin_s(scratch, pages)))
    taxes = [with_s / plain_s for plain_s, with_s in pairs]
    plain_s, with_s = (statistics.median(times) for times in zip(*pairs, strict=True))
    figures = Tax(
        store=call.hidden(url),
        items=items,
        page_items=page_items,
        rounds=rounds,
        plain_items_per_s=items / plain_s,
        items_per_s=items / with_s,
        tax=statistics.median(taxes),
        tax_least=min(taxes),
        tax_most=max(taxes),
    )
    call.show.record(figures, "\n".join(_lines(figures)))


def _lines(figures: Tax) -> Iterator[str]:
    yield f"{figures.store}: {figures.items} items, {figures.page_items} a page"
    yield f"without checkpoints: {figures.plain_items_per_s:,.0f} items/s"
    yield f"with belaypin:       {figures.items_per_s:,.0f} items/s"
    yield (
        f"tax: {figures.tax:.2f} (median of {figures.rounds}; "
        f"{figures.tax_least:.2f} to {figures.tax_most:.2f})"
    )


def _plain_s(url: str, pages: list[Page]) -> float:
    with belaypin.open(url) as store:
        store.execute(_TABLE)
        start_s = monotonic_s()
        for page in pages:
            store.execute(_INSERT[_kind(url)], (json.dumps(page),))
        return monotonic_s() - start_s


def _belaypin_s(url: str, pages: list[Page]) -> float:
    until = _BEGIN + timedelta(days=1)
    with belaypin.open(url) as store:
        start_s = monotonic_s()
        with store.lease("bench", "all") as lease:
            for window in lease.windows("rows", since=_BEGIN, until=until):
                for page in window.pages(lambda cursor: _fetch(pages, cursor)):
                    with page.commit() as tx:
                        rows = tx.fresh(page.items, key="id")
                        tx.execute(_INSERT[_kind(url)], (json.dumps(rows),))
        return monotonic_s() - start_s


def _fetch(pages: list[Page], cursor: int | None) -> tuple[Page, int | None]:
    at = cursor or 0
    return pages[at], at + 1 if at + 1 < len(pages) else None


def _kind(url: str) -> str:
    return "sqlite" if url.startswith("sqlite:") else "postgresql"


@contextmanager
def _scratch(url: str) -> Iterator[str]:
    """The URL of an empty store where the real one lies; it is removed in the end."""
    name = f"bench_{unique_id().replace('-', '')[:12]}"
    if _kind(url) == "sqlite":
        file = Path(unquote(url.removeprefix("sqlite:///")))
        try:
            yield f"{url}.{name}"
        finally:
            for each in file.parent.glob(f"{file.name}.{name}*"):
                each.unlink()
        return
    with closing(belaypin.open(url, create=False)) as store:
        store.execute(f"CREATE SCHEMA {name}")
        try:
            sign = "&" if "?" in url else "?"
            yield f"{url}{sign}options=-csearch_path%3D{name}"
        finally:
            store.execute(f"DROP SCHEMA {name} CASCADE")
