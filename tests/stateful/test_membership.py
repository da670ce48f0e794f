"""What ``fresh`` answers from memory equals what was committed, however little memory there is.

Two roles with a lease each, ids of every kind, pages that come again, commits that are undone,
workers that start anew: against a plain dict.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import settings

import belaypin

pytestmark = pytest.mark.proof

Item = dict[str, Any]

KINDS: dict[str, Callable[[Random, int], Any]] = {
    "random texts": lambda random, n: f"{random.getrandbits(64):016x}",
    "random numbers": lambda random, n: random.randrange(-(2**62), 2**62),
    "texts in order": lambda random, n: f"{n:06d}",
    "numbers and texts": lambda random, n: random.choice([n, str(n), -n]),
}
SEEDS = settings().max_examples
EVERYTHING = {"since": "beginning", "overlap": "99999d"}


class World:
    """A store with a small memory, a source of pages, and a dict that says what is committed."""

    def __init__(self, kind: str, seed: int) -> None:
        self.random = random = Random(f"{kind} {seed}")
        self.store = belaypin.open(
            "sqlite:///:memory:", ledger_items=random.choice([5, 50, 300, 10**6])
        )
        self.compares = random.random() < 0.4
        self.in_order = kind == "texts in order"
        size = random.choice([100, 1000])
        self.pool = list(dict.fromkeys(KINDS[kind](random, n) for n in range(size)))
        self.model: dict[Any, int] = {}
        self.leases = [self.acquired(role) for role in ("a", "b")]

    def acquired(self, role: str) -> belaypin.Lease:
        lease = self.store.lease("p", "e", role=role)
        lease.acquire()
        return lease

    def page(self) -> list[Item]:
        count = self.random.randrange(1, 30)
        ids = self.random.choices(self.pool, k=count)
        if self.in_order and self.random.random() < 0.7:
            start = min(len(self.model), len(self.pool) - 1)
            ids = self.pool[start : start + count]
        return [{"id": item_id, "v": self.random.randrange(3)} for item_id in ids]

    def fetched(self, number: int, pages: int) -> tuple[list[Item], int | None]:
        return self.page(), number + 1 if number + 1 < pages else None

    def expected(self, items: list[Item]) -> list[Item]:
        if self.compares:
            newest = {item["id"]: item for item in items}
            return [i for i in newest.values() if self.model.get(i["id"]) != i["v"]]
        first: dict[Any, Item] = {}
        for item in items:
            first.setdefault(item["id"], item)
        return [item for item in first.values() if item["id"] not in self.model]

    def work(self, lease: belaypin.Lease, pages: int) -> None:
        """Some pages of one window; now and then a commit is undone, which ends it."""
        for window in lease.windows("s", **EVERYTHING):  # type: ignore[arg-type]
            for page in window.pages(lambda cursor: self.fetched(cursor or 0, pages)):
                try:
                    self.commit(page, fails=self.random.random() < 0.1)
                except KeyError:
                    return
            return

    def commit(self, page: belaypin.Page, *, fails: bool) -> None:
        expected = self.expected(page.items)
        with page.commit() as tx:
            content = ["v"] if self.compares else None
            assert tx.fresh(page.items, key="id", content=content) == expected
            if fails:
                raise KeyError
        self.model.update({item["id"]: item["v"] for item in expected})

    def start_anew(self, index: int) -> None:
        self.leases[index].release()
        self.leases[index] = self.acquired("ab"[index])

    def close(self) -> None:
        for lease in self.leases:
            lease.release()
        self.store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_answers_as_the_database_would(kind: str) -> None:
    for seed in range(SEEDS):
        world = World(kind, seed)
        for _ in range(world.random.choice([4, 14])):
            world.work(world.random.choice(world.leases), world.random.randrange(1, 25))
            if world.random.random() < 0.2:
                world.start_anew(world.random.randrange(2))
        assert world.store.seen(("p", "e", "s"), world.pool) == world.model.keys()
        world.close()
