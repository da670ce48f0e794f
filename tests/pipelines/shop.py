"""A small pipeline for tests: sites with orders, told what to do by a file, found by import."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import belaypin

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
PAGE = 10

SITES = int(os.environ.get("SHOP_SITES", "6"))
ORDERS = int(os.environ.get("SHOP_ORDERS", "55"))
BEHAVIOUR = os.environ.get("SHOP_BEHAVIOUR", "")

shop = belaypin.Pipeline("shop", retry=belaypin.Retry(backoff="1ms", max_attempts=2))


def orders_of(site: str, count: int | None = None) -> list[dict[str, Any]]:
    """Those of a site, an order a minute."""
    return [
        {"id": f"{site}-{n}", "n": n, "at": (EPOCH + timedelta(minutes=n)).isoformat()}
        for n in range(ORDERS if count is None else count)
    ]


@shop.setup
def tables(store: belaypin.Store) -> None:
    store.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, site TEXT)")
    store.execute("CREATE TABLE IF NOT EXISTS sites (name TEXT, title TEXT)")


@shop.entities
def sites() -> Iterator[str]:
    yield from (f"site:{n}" for n in range(SITES))


@shop.watch("about", ignore=["seen"])
def about(site: str) -> dict[str, Any]:
    return {"title": f"The {site}", "seen": os.urandom(4).hex()}


@shop.item("about")
def save_about(tx: belaypin.Work, page: dict[str, Any], *, entity: str, kind: str) -> None:
    assert kind == "new"
    tx.execute(sql("INSERT INTO sites VALUES (?, ?)", tx), (entity, page["title"]))


@shop.source("orders", since=EPOCH, until=EPOCH + timedelta(days=2), at="at")
def fetch(site: str, window: belaypin.Window, cursor: Any) -> tuple[list[dict[str, Any]], Any]:
    note(f"{os.getpid()} {site} {cursor}")
    behave(site, cursor)
    start = cursor or 0
    orders = orders_of(site)
    return orders[start : start + PAGE], start + PAGE if start + PAGE < len(orders) else None


@shop.item("orders")
def insert(tx: belaypin.Work, order: dict[str, Any], *, entity: str) -> None:
    if BEHAVIOUR == "poison" and order["n"] == 13:
        raise ValueError("13 is unlucky")
    if BEHAVIOUR == "segfault" and order["id"] == "site:1-13":
        os.kill(os.getpid(), signal.SIGKILL)
    if BEHAVIOUR == "die" and order["n"] == 13 and once("died"):
        os.kill(os.getpid(), signal.SIGKILL)
    tx.execute(sql("INSERT INTO orders VALUES (?, ?)", tx), (order["id"], entity))


def sql(text: str, tx: object) -> str:
    """In the driver's parameter style."""
    return text.replace("?", "%s") if os.environ.get("SHOP_DIALECT") == "postgres" else text


def note(line: str) -> None:
    """Add a line to a file that all processes write to."""
    if path := os.environ.get("SHOP_NOTES"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


def once(what: str) -> bool:
    """Whether this is the first time, of all processes."""
    try:
        Path(f"{os.environ['SHOP_NOTES']}.{what}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def behave(site: str, cursor: Any) -> None:
    if BEHAVIOUR in ("slow", "hang"):
        time.sleep(0.02)
    if BEHAVIOUR == "hang" and site == "site:1" and cursor == PAGE:
        time.sleep(120)
    if BEHAVIOUR == "broken" and site == "site:2":
        raise ConnectionError("no route to site:2")
