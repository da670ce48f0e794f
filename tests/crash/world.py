"""What the workers of an interleaving test work on, and what must hold whatever they did.

Each order gets an entity of its own, so nothing has to be cleared away. The tables have no unique
keys: an item that is committed twice is there twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import belaypin
from belaypin._sync.commit import Commit
from belaypin._sync.lease import Lease
from belaypin._sync.store import Store
from belaypin._sync.window import Page, Window
from belaypin.testing import FakeClock
from belaypin.testing.explorer import Player
from tests.crash.outside import Outside, own_table

__all__ = ["EPOCH", "PIPELINE", "TTL_S", "Item", "Theatre", "World"]

EPOCH = datetime(2023, 12, 1, tzinfo=UTC)
PIPELINE = "crash"
TTL_S = 30

TABLES = {
    "posts": "entity TEXT, id BIGINT, role TEXT, token BIGINT",
    "profiles": "entity TEXT, content TEXT, kind TEXT",
    "effects": "operation TEXT, who TEXT",
}

Item = dict[str, Any]
Fetch = Callable[[Any], tuple[list[Item], Any]]


class Theatre:
    """A store, its clock, and a plain connection beside it; makes one World after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FakeClock()
        self.outside = Outside(url)
        self.store = belaypin.open(url, clock=self.clock)
        self._numbers = count(1)
        for name, columns in TABLES.items():
            self.outside.run(own_table(name, columns, is_sqlite=self.outside.is_sqlite))

    def close(self) -> None:
        self.store.close()
        self.outside.close()

    def empty_url(self) -> str:
        """The URL of a store that is not there yet, beside this one."""
        name = self.name()
        if self.outside.is_sqlite:
            return f"{self.url}.{name}"
        self.outside.run(f"CREATE SCHEMA {name}")
        return f"{self.url}{'&' if '?' in self.url else '?'}options=-csearch_path%3D{name}"

    def look_at(self, url: str) -> Outside:
        return Outside(url)

    def sql(self, text: str) -> str:
        """A statement of ours, written with ``?``, as the store's driver wants it."""
        return text if self.outside.is_sqlite else text.replace("?", "%s")

    def name(self) -> str:
        """A name that was not used before."""
        return f"e{next(self._numbers)}"

    def world(self, pages: int = 2, *, page_items: int = 2) -> World:
        return World(self, pages * page_items, page_items)


class World:
    """One entity with one stream of ``items``, a minute apart, served in pages."""

    def __init__(self, theatre: Theatre, items: int, page_items: int) -> None:
        self.theatre = theatre
        self.clock = theatre.clock
        self.entity = theatre.name()
        self.items: list[Item] = [
            {"id": i, "at": EPOCH + timedelta(minutes=i)} for i in range(items)
        ]
        self.end = EPOCH + timedelta(minutes=items)
        self.granted: list[tuple[str, int]] = []
        """Every (role, token) in the order in which the leases were granted."""
        self.outcomes: list[str] = []
        self._page_items = page_items

    # --- what workers do ------------------------------------------------------------------------

    def lease(self, store: Store, role: str = "main") -> Lease:
        return store.lease(PIPELINE, self.entity, role=role, ttl_s=TTL_S)

    @contextmanager
    def held(self, store: Store, role: str = "main") -> Iterator[Lease]:
        with self.lease(store, role) as lease:
            self.granted.append((role, lease.token))
            yield lease

    def windows(self, lease: Lease, processor: int = 0) -> Iterator[Window]:
        return lease.windows("posts", since=EPOCH, until=self.end, processor=processor)

    def fetch(self, window: Window) -> Fetch:
        """A source that serves this window's items in pages, by the cursor of their place."""
        inside = [item for item in self.items if window.start <= item["at"] < window.end]

        def page(cursor: Any) -> tuple[list[Item], Any]:
            start = cursor or 0
            following = start + self._page_items
            return inside[start:following], following if following < len(inside) else None

        return page

    def pages(self, lease: Lease, processor: int = 0) -> Iterator[Page]:
        for window in self.windows(lease, processor):
            yield from window.pages(self.fetch(window))

    def commit(self, page: Page, lease: Lease) -> None:
        with page.commit() as tx:
            self.write(tx, page.items, lease)

    def write(self, tx: Commit, items: list[Item], lease: Lease) -> None:
        # The very token: what a stale worker writes shows by its age.
        rows = [
            (self.entity, item["id"], lease.role, lease.token) for item in tx.fresh(items, key="id")
        ]
        sql = "INSERT INTO posts (entity, id, role, token) VALUES (?, ?, ?, ?)"
        if rows:
            tx.executemany(self.theatre.sql(sql), rows)

    def mine(self, store: Store, role: str = "main") -> None:
        """All the work there is, as a pipeline would do it."""
        with self.held(store, role) as lease:
            self.commit_all(lease)

    def commit_all(self, lease: Lease) -> None:
        """Every page that is left."""
        for page in self.pages(lease):
            self.commit(page, lease)

    def try_to_mine(self, player: Player, role: str = "main") -> None:
        """As ``mine``; to be refused or fenced is one of the ways that it may end."""
        try:
            self.mine(player.store, role)
        except (belaypin.LeaseHeld, belaypin.Fenced) as error:
            self.outcomes.append(f"{player.name}: {type(error).__name__}")

    # --- what must hold -------------------------------------------------------------------------

    def finish(self) -> None:
        """A third worker comes when the leases of the crashed have run out, and does the rest."""
        self.clock.advance(2 * TTL_S)
        self.mine(self.theatre.store)

    def check(self) -> None:
        """Nothing wrong as it stands, and nothing lost or doubled once a third worker is done."""
        self.check_nothing_wrong()
        self.finish()
        self.check_nothing_wrong()
        assert self.rows() == Counter(item["id"] for item in self.items)

    def check_nothing_wrong(self) -> None:
        rows = self.rows()
        doubled = {item for item, times in rows.items() if times > 1}
        assert not doubled, f"doubled: {sorted(doubled)}"
        self._check_ledger(rows)
        self._check_coverage(rows)
        self._check_tokens()

    def rows(self) -> Counter[int]:
        """How often each item was written."""
        found = self.theatre.outside.run("SELECT id FROM posts WHERE entity = ?", self.entity)
        return Counter(item for (item,) in found)

    def key_id(self, stream: str = "") -> int:
        """The number of the entity's row, or of one of its streams."""
        query = "SELECT key_id FROM belaypin_checkpoint WHERE entity = ? AND stream = ?"
        return int(self.theatre.outside.one(query, self.entity, stream))

    def _check_ledger(self, rows: Counter[int]) -> None:
        """What the ledger says is committed is what is there, by three ways of asking."""
        counted = self._sum("SELECT sum(items) FROM belaypin_checkpoint WHERE key_id = ?")
        packed = self._sum("SELECT sum(items) FROM belaypin_segment WHERE key_id = ?")
        assert counted == packed == len(rows), (counted, packed, len(rows))
        ids = [item["id"] for item in self.items]
        seen = self.theatre.store.seen((PIPELINE, self.entity, "posts"), ids)
        assert seen == set(rows), f"seen {sorted(seen)}, written {sorted(rows)}"

    def _check_coverage(self, rows: Counter[int]) -> None:
        covered = self._stream("SELECT start_us, end_us FROM belaypin_coverage WHERE key_id = ?")
        for item in self.items:
            at_us = (item["at"] - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            is_covered = any(start <= at_us < end for start, end in covered)
            assert item["id"] in rows or not is_covered, f"covered, not processed: {item['id']}"

    def _check_tokens(self) -> None:
        for role in {role for role, _ in self.granted}:
            tokens = [token for granted_role, token in self.granted if granted_role == role]
            assert tokens == sorted(set(tokens)), f"tokens of {role} do not grow: {tokens}"
        query = "SELECT role, token FROM posts WHERE entity = ? ORDER BY n"
        newest: dict[str, int] = {}
        for role, token in self.theatre.outside.run(query, self.entity):
            assert token >= newest.get(role, 0), f"a stale write of {role} was accepted: {token}"
            newest[role] = token

    def _sum(self, sql: str) -> int:
        found = self._stream(sql)
        return int(found[0][0] or 0) if found else 0

    def _stream(self, sql: str) -> list[tuple[Any, ...]]:
        outside = self.theatre.outside
        query = "SELECT key_id FROM belaypin_checkpoint WHERE entity = ? AND stream = 'posts'"
        keys = outside.run(query, self.entity)
        return outside.run(sql, keys[0][0]) if keys else []
