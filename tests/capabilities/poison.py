"""Workers that some items kill, one after the other: python poison.py URL HOW WHERE LIMIT

Each mines 9 items in pages of 4, of which those in ``POISON`` end its process: by os._exit, SIGKILL
or a segmentation fault; before the commit block, in it, or when they are retried. Prints how many
have died before one came through.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import belaypin

KEY = ("shop", "user:7", "posts")
POISON = (0, 6)
ITEMS = 9
PER_PAGE = 4
START = datetime(2024, 1, 1, tzinfo=UTC)
RETRY = belaypin.Retry(backoff="1ms", max_attempts=9)

_nonce = count()


def die(how: str) -> None:
    """End the process without a chance to leave in order."""
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    ctypes.string_at(0)


def fetch(cursor: Any, *, is_volatile: bool) -> tuple[list[dict[str, Any]], Any]:
    first = cursor or 0
    items = [
        {"id": n, "at": (START + timedelta(minutes=n)).isoformat()}
        for n in range(first, min(first + PER_PAGE, ITEMS))
    ]
    if is_volatile:
        for item in items:
            item["fetched"] = f"{os.getpid()}-{next(_nonce)}"
    return items, first + PER_PAGE if first + PER_PAGE < ITEMS else None


def main(url: str, how: str, where: str) -> int:
    with belaypin.open(url) as store, store.lease(*KEY[:2], ttl_s=5, wait_s=30) as lease:
        store.execute("CREATE TABLE IF NOT EXISTS effect (id INTEGER)")
        other_window(lease)
        mine(lease, url, how, where)
        if where == "retry":
            time.sleep(0.01)
            mine(lease, url, how, where)
    return 0


def mine(lease: belaypin.Lease, url: str, how: str, where: str) -> None:
    mark = "?" if url.startswith("sqlite:") else "%s"
    for window in lease.windows(KEY[2], since=START, at="at", retry=RETRY):
        for page in window.pages(lambda cursor: fetch(cursor, is_volatile=where == "volatile")):
            if where == "before" and any(i["id"] in POISON for i in page.items):
                die(how)
            with page.commit() as tx:
                for item in tx.fresh(page.items, key="id"):
                    with tx.attempt(item):
                        tx.execute(f"INSERT INTO effect VALUES ({mark})", (item["id"],))
                        if item["id"] in POISON:
                            if where == "retry" and not window.is_retry:
                                raise ValueError("not yet")
                            die(how)


def other_window(lease: belaypin.Lease) -> None:
    """A harmless stream of the same entity, which moves on with every start."""
    for window in lease.windows("profile", since="1d"):
        for page in window.pages(lambda cursor: ([{"id": datetime.now(UTC).isoformat()}], None)):
            with page.commit() as tx:
                tx.fresh(page.items, key="id")


def supervise(url: str, how: str, where: str, limit: int) -> int:
    """Fork worker after worker until one comes through; how many have died."""
    belaypin.open("sqlite:///:memory:").close()  # so that not every child imports it all again
    for died in range(limit):
        child = os.fork()
        if child == 0:
            os._exit(main(url, how, where))
        _, status = os.waitpid(child, 0)
        if status == 0:
            return died
    return limit


if __name__ == "__main__":
    url, how, where, limit = sys.argv[1:5]
    print(supervise(url, how, where, int(limit)))  # noqa: T201
