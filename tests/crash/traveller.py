"""A script that travels in time, and may be killed anywhere: ``python traveller.py URL``.

Each step may be run again after it was interrupted, or after it was done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import belaypin
from belaypin import UsageError
from belaypin.testing.conformance.source import minute

ENTITIES = ("a", "b")


def mine(store: belaypin.Store, pipeline: str, entity: str, first: int, last: int) -> None:
    with store.lease(pipeline, entity) as lease:
        for window in lease.windows("posts", since=minute(first), until=minute(last)):
            middle = (first + last) // 2
            halves = [list(range(first, middle)), list(range(middle, last))]

            def fetch(cursor: Any, halves: list[list[int]] = halves) -> tuple[list[int], Any]:
                return halves[cursor or 0], None if cursor else 1

            for page in window.pages(fetch):
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key=lambda item: item):
                        tx.execute(f"INSERT INTO effect VALUES ('{pipeline}', '{entity}', {item})")
    store.save((pipeline, entity, "note"), {"mined to": last})


def mine_all(store: belaypin.Store, pipeline: str, first: int, last: int) -> None:
    for entity in ENTITIES:
        mine(store, pipeline, entity, first, last)


def unless_done(act: Callable[[], object], because: str) -> None:
    try:
        act()
    except UsageError as error:
        if because not in str(error):
            raise


def main(url: str) -> None:
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE IF NOT EXISTS effect (pipeline TEXT, entity TEXT, id INTEGER)")
        steps: list[Callable[[], object]] = [
            lambda: mine_all(store, "shop", 0, 6),
            lambda: unless_done(lambda: store.savepoint("shop", "all"), "already"),
            lambda: mine_all(store, "shop", 6, 10),
            lambda: store.rewind("shop", to="all"),
            lambda: unless_done(lambda: store.fork("shop", "copy"), "something at copy already"),
            lambda: mine_all(store, "copy", 10, 14),
            lambda: unless_done(lambda: store.drop_savepoint("shop", "all"), "nothing to drop"),
            lambda: store.reset(("shop", "b")),
        ]
        loaded = store.load("steps")
        done = loaded.state if loaded else 0
        for number, step in enumerate(steps):
            if number >= done:
                step()
                store.save("steps", number + 1)
                sys.stdout.write(f"{number}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
