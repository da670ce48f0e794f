# Generated from src/belaypin/testing/conformance/_async/loop.py by tools/generate_sync.py; do not edit.
"""The loop as a user writes it, and what the checks share to drive it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from belaypin._sync.lease import Lease
from belaypin._sync.live import Live
from belaypin._sync.store import Store
from belaypin._sync.window import Window
from belaypin._sync.work import Work
from belaypin.clock import Clock
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.source import Item, Source, minute
from belaypin.testing.conformance.threads import in_threads, sleep_s

__all__ = [
    "KEY",
    "commit_all",
    "effects",
    "hear",
    "mine",
    "opened",
    "pause",
    "spans",
    "together",
    "write",
]

T = TypeVar("T")

KEY = ("shop", "user:7", "posts")
"""The stream that most checks work on."""


def opened(place: Place, *, clock: Clock | None = None, ledger_items: int = 1000) -> Store:
    """A store, and a table of the user's that has no unique key: a duplicate would show."""
    store = place.open(clock=clock, ledger_items=ledger_items)
    store.execute("CREATE TABLE IF NOT EXISTS effect (id TEXT, body TEXT)")
    return store


def effects(place: Place) -> list[str]:
    """The ids in the user's table, sorted, read by other means than belaypin's."""
    return sorted(row[0] for row in place.query("SELECT id FROM effect"))


def write(place: Place, tx: Work, items: Sequence[Item]) -> None:
    """Write a row of the user's for each item."""
    insert = place.sql("INSERT INTO effect (id, body) VALUES (?, ?)")
    tx.executemany(insert, [(str(item["id"]), item["body"]) for item in items])


def commit_all(
    place: Place, window: Window, fetch: Callable[[Any], Any], **fresh: Any
) -> list[list[Item]]:
    """Commit every page of a window; returns what was fresh in each."""
    pages = []
    for page in window.pages(fetch):
        with page.commit() as tx:
            items = tx.fresh(page.items, key="id", **fresh)
            write(place, tx, items)
        pages.append(items)
    return pages


def mine(
    place: Place, lease: Lease, source: Source, stream: str = KEY[2], **windows: Any
) -> list[Any]:
    """The whole loop: every window, every page, every fresh item; returns the fresh ids."""
    options = {"since": minute(0), **windows}
    found: list[Any] = []
    for window in lease.windows(stream, **options):
        for items in commit_all(place, window, source.within(window)):
            found += [item["id"] for item in items]
    return found


def hear(place: Place, live: Live, *items: Item) -> list[Any]:
    """Commit live events; returns the fresh ids."""
    with live.batch(items).commit() as tx:
        fresh = tx.fresh(items, key="id")
        write(place, tx, fresh)
    return [item["id"] for item in fresh]


def spans(lease: Lease, stream: str = KEY[2], **options: Any) -> list[tuple[float, float]]:
    """The windows as (start, end) in minutes of DAY; nothing is committed."""
    zero = minute(0)
    return [
        ((window.start - zero).total_seconds() / 60, (window.end - zero).total_seconds() / 60)
        for window in lease.windows(stream, **options)
    ]


def pause(seconds: float) -> None:
    """Let real time pass."""
    sleep_s(seconds)


def together(calls: Sequence[Callable[[], T]]) -> list[T | BaseException]:
    """Make the calls at the same time; returns what each returned or raised."""
    return in_threads(calls)
