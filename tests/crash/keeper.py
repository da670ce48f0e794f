"""Housekeeping as a user's cron job does it, to be killed.

    python keeper.py URL BEGIN

It drops what the horizon allows, packs the rest, and then replays all that the source ever had, with
something new behind it. After each step that is durable it writes a byte to its standard output.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from typing import Any

import belaypin

KEY = ("crash", "user:7", "posts")
ITEMS = 120
NEW = 6
INSERT = "INSERT INTO items (id) VALUES (?)"


def events(begin: str, count: int = ITEMS) -> list[dict[str, Any]]:
    """One a minute."""
    start = datetime.fromisoformat(begin)
    return [{"id": n, "at": (start + timedelta(minutes=n)).isoformat()} for n in range(count)]


def mine(
    store: belaypin.Store,
    url: str,
    items: list[dict[str, Any]],
    page_size: int = 3,
    horizon: str | None = "30m",
) -> None:
    stream = KEY[2] if horizon else "kept"
    insert = INSERT if url.startswith("sqlite:") else INSERT.replace("?", "%s")

    def fetch(cursor: int | None) -> tuple[list[dict[str, Any]], int | None]:
        end = (cursor or 0) + page_size
        return items[cursor or 0 : end], end if end < len(items) else None

    with store.lease(*KEY[:2], wait_s=30) as lease:
        for window in lease.windows(stream, since="30d", overlap="1m", at="at", horizon=horizon):
            for page in window.pages(fetch):
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key="id"):
                        tx.execute(insert, (item["id"],))
                done()


def done(_: object = None) -> None:
    os.write(1, b".")


def main() -> None:
    url, begin = sys.argv[1:]
    with belaypin.open(url) as store:
        store.gc(belaypin.Retention(audit=0, samples=0), on_progress=done)
        store.compact(on_progress=done)
        store.record_health(every="100ms")
        done()
        mine(store, url, events(begin, ITEMS + NEW), page_size=20)
        mine(store, url, events(begin), page_size=40, horizon=None)


if __name__ == "__main__":
    main()
