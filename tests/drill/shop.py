"""Pipelines to drill: one as it should be, and some that only seem to work.

Those write to the store's database by themselves, as code does that was written before belaypin came.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

import belaypin

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
SITES, ORDERS, PAGE = 2, 24, 6

shop = belaypin.Pipeline("shop")
doubling = belaypin.Pipeline("doubling")
losing = belaypin.Pipeline("losing")
dicing = belaypin.Pipeline("dicing")
idle = belaypin.Pipeline("idle")
failing = belaypin.Pipeline("failing")
hopeless = belaypin.Pipeline("hopeless")


def page(site: str, cursor: int | None) -> tuple[list[dict[str, Any]], int | None]:
    start = cursor or 0
    orders = [
        {"id": f"{site}-{n}", "at": (EPOCH + timedelta(minutes=n)).isoformat()}
        for n in range(start, min(start + PAGE, ORDERS))
    ]
    return orders, start + PAGE if start + PAGE < ORDERS else None


def write(order_id: str, site: str) -> None:
    """In a transaction of its own."""
    url = os.environ["BELAYPIN_STORE"]
    if url.startswith("postgres"):
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO orders (id, site) VALUES (%s, %s)", (order_id, site))
        return
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)) as own:
        own.execute("INSERT INTO orders (id, site) VALUES (?, ?)", (order_id, site))
        own.commit()


def insert(tx: belaypin.Work, order_id: str, site: str) -> None:
    mark = "%s" if os.environ["BELAYPIN_STORE"].startswith("postgres") else "?"
    tx.execute(f"INSERT INTO orders (id, site) VALUES ({mark}, {mark})", (order_id, site))


def tables(store: belaypin.Store) -> None:
    if os.environ["BELAYPIN_STORE"].startswith("postgres"):
        store.execute("CREATE TABLE IF NOT EXISTS orders (n SERIAL, id TEXT, site TEXT)")
    else:
        store.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, site TEXT)")


for pipeline in (shop, doubling, losing, dicing, idle, failing, hopeless):
    pipeline.setup(tables)
    pipeline.entities(lambda: [f"site:{n}" for n in range(SITES)])

WHEN: Any = {"since": EPOCH, "until": EPOCH + timedelta(days=1), "at": "at"}


@shop.source("orders", since="9000d", at="at")
def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
    sys.stdout.write(f"fetching {site}\n")  # what it prints is not taken for a commit
    sys.stdout.flush()
    return page(site, cursor)


@shop.item("orders")
def insert_inside(tx: belaypin.Work, order: dict[str, Any], *, entity: str) -> None:
    insert(tx, order["id"], entity)


@shop.watch("about")
def about(site: str) -> dict[str, str]:
    return {"title": site}


@shop.item("about")
def insert_about(tx: belaypin.Work, document: dict[str, str], *, entity: str) -> None:
    insert(tx, document["title"], entity)


@doubling.source("orders", **WHEN)
def fetch_and_write(site: str, window: belaypin.Window, cursor: Any) -> Any:
    orders, following = page(site, cursor)
    for order in orders:
        write(order["id"], site)  # before the commit that remembers it
    return orders, following


@doubling.item("orders")
def write_nothing(tx: belaypin.Work, order: dict[str, Any]) -> None:
    tx.execute("SELECT 1")


PENDING: list[tuple[str, str]] = []


@losing.source("orders", **WHEN)
def write_and_fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
    flush()
    return page(site, cursor)


@losing.item("orders")
def write_later(tx: belaypin.Work, order: dict[str, Any], *, entity: str) -> None:
    tx.execute("SELECT 1")
    PENDING.append((order["id"], entity))  # after the commit that counts it as done


@losing.watch("z-last")
def last(site: str) -> dict[str, str]:
    flush()
    return {"site": site}


@losing.item("z-last")
def write_no_more(tx: belaypin.Work, document: dict[str, str]) -> None:
    tx.execute("SELECT 1")


def flush() -> None:
    while PENDING:
        write(*PENDING.pop())


@dicing.source("orders", **WHEN)
def fetch_dice(site: str, window: belaypin.Window, cursor: Any) -> Any:
    return page(site, cursor)


@dicing.item("orders")
def insert_dice(tx: belaypin.Work, order: dict[str, Any]) -> None:
    insert(tx, order["id"], os.urandom(8).hex())


@idle.source("orders", **WHEN)
def fetch_nothing(site: str, window: belaypin.Window, cursor: Any) -> Any:
    return [], None


@idle.item("orders")
def insert_none(tx: belaypin.Work, order: dict[str, Any]) -> None:
    raise AssertionError


@failing.source("orders", **WHEN)
def fetch_badly(site: str, window: belaypin.Window, cursor: Any) -> Any:
    os._exit(7)


@failing.item("orders")
def insert_badly(tx: belaypin.Work, order: dict[str, Any]) -> None:
    raise AssertionError


@hopeless.source("orders", **WHEN)
def fetch_in_vain(site: str, window: belaypin.Window, cursor: Any) -> Any:
    return page(site, cursor)


@hopeless.item("orders")
def insert_nowhere(tx: belaypin.Work, order: dict[str, Any]) -> None:
    tx.execute("INSERT INTO nowhere VALUES (1)")
