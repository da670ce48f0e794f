"""A store with a story: a day of mining Stack Exchange, with deaths, gaps, poison and an old lease.

    python -m tests.web.prepared sqlite:////tmp/story.db

The posts, comments, votes and badges are the sample's, their times pressed into the 30 days up to now.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import belaypin
from belaypin.testing import FakeClock

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "stackexchange-sample"
PIPELINE = "stackexchange"
FILES = {
    "posts": ("Posts.xml", "OwnerUserId", "CreationDate"),
    "comments": ("Comments.xml", "UserId", "CreationDate"),
    "badges": ("Badges.xml", "UserId", "Date"),
}
DAYS = 30
SWEEPS = 12
ACTIVE = 5
"""So many users are visited in each sweep but the first: the others were silent."""

Item = dict[str, Any]


@cache
def site() -> dict[str, dict[str, list[Item]]]:
    """What each user has, by stream, each item with its age as a part of the whole stretch."""
    found: dict[str, dict[str, list[Item]]] = {}
    moments = [at for *_, at in _rows()]
    first, last = min(moments), max(moments)
    for stream, user, item, at in _rows():
        item["age"] = (last - at) / (last - first)
        found.setdefault(user, {}).setdefault(stream, []).append(item)
    return found


def _rows() -> Iterator[tuple[str, str, Item, datetime]]:
    for stream, (name, owner, when) in FILES.items():
        for row in ET.parse(SAMPLE / name).getroot():
            at = datetime.fromisoformat(row.attrib[when]).replace(tzinfo=UTC)
            item = {"id": int(row.attrib["Id"]), "text": row.attrib.get("Text", "")[:80]}
            yield stream, row.attrib.get(owner, "nobody"), item, at


def prepare(url: str) -> None:
    """Let the story happen in an empty store."""
    now = datetime.now(UTC)
    clock = FakeClock(now - timedelta(days=1))
    with belaypin.open(url, clock=clock) as store:
        users = sorted(site())
        for n in range(SWEEPS):
            for user in users if n == 0 else users[:ACTIVE]:
                visit(store, user, now, clock.now, n)
            store.record_health(every="1s")
            clock.set(now - timedelta(days=1) * (1 - (n + 1) / SWEEPS))
        _mishaps(store, users, now)
        store.record_drill(PIPELINE, kills=200, recovery_p50=0.21, recovery_p99="400ms")
    _listen(url, now)
    with belaypin.open(url) as store:
        _operations(store)
    _die_at_work(url)


def visit(store: belaypin.Store, user: str, now: datetime, seen_at: datetime, sweep: int) -> None:
    """What a worker does with one user: a profile, then each stream."""
    with store.lease(PIPELINE, f"user:{user}") as lease:
        profile = {"name": f"user {user}", "reputation": 100 + sweep // 4}
        with lease.changed("profile", profile):
            pass
        for stream, items in site()[user].items():
            dated = [{**item, "at": now - timedelta(days=DAYS) * item["age"]} for item in items]
            known = [item for item in dated if item["at"] < seen_at]
            for window in lease.windows(stream, since=f"{DAYS}d", overlap="2d", at="at"):
                page_items = [i for i in known if window.start <= i["at"] < window.end]
                for page in window.pages(partial(_one_page, page_items)):
                    with page.commit() as tx:
                        tx.fresh(page.items, key="id")


def _one_page(items: list[Item], _cursor: Any) -> tuple[list[Item], None]:
    return items, None


def _endless_pages(items: list[Item], cursor: Any) -> tuple[list[Item], int]:
    return items, (cursor or 0) + 1


def _mishaps(store: belaypin.Store, users: list[str], now: datetime) -> None:
    """Gaps, an item in quarantine, failures of three kinds, an entity that was given up."""
    for n, user in enumerate(users[6:9]):
        since = now - timedelta(days=20 - n)
        for stream in site()[user]:
            store.reopen((PIPELINE, f"user:{user}", stream), since, since + timedelta(days=1 + n))
    store.quarantine((PIPELINE, f"user:{users[1]}", "posts"), 999_001, "legal asked for it")
    errors = (TimeoutError("the read timed out"), ValueError("unknown tag <b>&"), KeyError("body"))
    retry = belaypin.Retry(backoff="10m", jitter=0, give_up_on=(KeyError,))
    for user in users[10:14]:
        with (
            store.lease(PIPELINE, f"user:{user}", retry=retry) as lease,
            lease.live("edits", at="at", retry=retry) as live,
            live.batch(_edits(now)).commit() as tx,
        ):
            for item in tx.fresh(_edits(now), key="id"):
                with tx.attempt(item, payload={**item, "at": item["at"].isoformat()}):
                    if item["id"] % 4:
                        raise errors[item["id"] % 4 - 1]
    for user, error in ((users[15], "HTTP 503 from the source"), (users[16], "HTTP 404: gone")):
        policy = belaypin.Retry(max_attempts=1 if "404" in error else 3, backoff="1h", jitter=0)
        try:
            with store.lease(PIPELINE, f"user:{user}", retry=policy):
                raise ConnectionError(error)
        except ConnectionError:
            pass
    first, second = belaypin.Schema(1), belaypin.Schema(2, {1: lambda state: {"people": 0}})
    key = (PIPELINE, "profiles")
    store.save(key, {"names": 2}, schema=first)
    store.save(key, {"names": 3}, schema=first)
    store.save(key, {"people": 3, "reputation": {"best": 101}}, schema=second)
    store.prioritise((PIPELINE, f"user:{users[0]}"), 10)


def _edits(now: datetime) -> list[Item]:
    return [{"id": n, "at": now - timedelta(minutes=90 - n)} for n in range(8)]


def _operations(store: belaypin.Store) -> None:
    for n in range(3):
        with store.once(f"invoice:2024-{n:02}") as operation:
            operation.result = {"sent": n}
    try:
        with store.once("invoice:2024-99"):
            raise ConnectionError("the mail server is away")
    except ConnectionError:
        pass


def _listen(url: str, now: datetime) -> None:
    """Orders came by a backfill to a day ago, and live for the last hours: there is a gap between."""
    clock = FakeClock(now - timedelta(hours=5))
    with belaypin.open(url, clock=clock) as store:
        for n in range(3):
            with store.lease("orders", f"shop:{n}") as lease:
                for window in lease.windows("orders", since="2d", until=now - timedelta(days=1)):
                    for page in window.pages(partial(_one_page, [{"id": f"old-{n}"}])):
                        with page.commit() as tx:
                            tx.fresh(page.items, key="id")
        with (
            store.lease("orders", "shop:0", role="live", ttl_s="1d") as lease,
            lease.live("orders", at="at") as live,
        ):
            for hours in range(5):
                clock.set(now - timedelta(hours=4 - hours))
                event = {"id": f"live-{hours}", "at": clock.now}
                with live.batch([event]).commit() as tx:
                    tx.fresh([event], key="id")


def _die_at_work(url: str) -> None:
    """Workers are killed in the middle of a window: their leases and windows stay behind."""
    command = [sys.executable, "-m", "tests.web.prepared", url, "--hang"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGKILL)


def _hang(url: str) -> None:
    with belaypin.open(url) as store:
        leases = [store.lease("orders", f"shop:{n}", ttl_s="1h") for n in range(3)]
        for lease in leases:
            lease.acquire()
            for window in lease.windows("orders", since="2d", overlap="6h"):
                items = [{"id": f"order-{n}"} for n in range(40)]
                for page in window.pages(partial(_endless_pages, items)):
                    with page.commit() as tx:
                        tx.fresh(page.items, key="id")
                    break
                break
        sys.stdout.write("working\n")
        sys.stdout.flush()
        time.sleep(600)


if __name__ == "__main__":
    _hang(sys.argv[1]) if "--hang" in sys.argv else prepare(sys.argv[1])
    os._exit(0)
