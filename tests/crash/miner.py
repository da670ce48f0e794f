"""A pipeline as a user writes it, to be killed.

    python miner.py URL INDEX ACKNOWLEDGED ROLE PAGE_SIZE TTL_S

It mines every entity of the source: a profile, a greeting (once, whoever comes first), and the
streams: in pages or, as role "live", as events that come in batches. After each commit that returned
it appends the ids to the file ACKNOWLEDGED and writes a byte to its standard output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import belaypin

if __package__:
    from tests.crash.source import END, STREAMS, Source
else:  # run as a script
    from source import END, STREAMS, Source  # type: ignore[import-not-found,no-redef]

PIPELINE = "crash"
WAIT_S = 60
INSERT = "INSERT INTO items (entity, stream, id, role, token) VALUES (?, ?, ?, ?, ?)"
PROFILE = "INSERT INTO profiles (entity, items) VALUES (?, ?)"
GREETING = "INSERT INTO greetings (entity) VALUES (?)"


class Miner:
    def __init__(self, store: Any, source: Source, arguments: list[str]) -> None:
        url, _, self.told, self.role, page_size, ttl_s = arguments
        self.store = store
        self.source = source
        self.is_sqlite = url.startswith("sqlite:")
        self.page_size = int(page_size)
        self.ttl_s = float(ttl_s)
        self.acknowledged = os.open(self.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def run(self) -> None:
        key = (PIPELINE, "finished", self.role)
        saved = self.store.load(key)
        finished = saved.state["entity"] if saved else ""
        for entity in self.source.entities():
            if entity > finished:
                self.visit(entity)
                self.store.save(key, {"entity": entity})

    def visit(self, entity: str) -> None:
        """Mine one entity; whoever is fenced begins it again."""
        while True:
            with suppress(belaypin.Fenced):
                lease = self.store.lease(
                    PIPELINE, entity, role=self.role, ttl_s=self.ttl_s, wait_s=WAIT_S
                )
                with lease:
                    self.mine(lease, entity)
                return

    def mine(self, lease: Any, entity: str) -> None:
        counts = [len(self.source.items(entity, stream)) for stream in STREAMS]
        with lease.changed("profile", {"items": counts}) as change:
            if change:
                change.tx.execute(self.sql(PROFILE), (entity, sum(counts)))
        with self.store.once(f"greet {entity}", wait_s=WAIT_S) as op:
            if op:
                op.tx.execute(self.sql(GREETING), (entity,))
        for stream in STREAMS:
            pages = self.batches if self.role == "live" else self.pages
            for page in pages(lease, entity, stream):
                self.acknowledge(stream, self.committed(lease, entity, stream, page))

    def committed(self, lease: Any, entity: str, stream: str, page: Any) -> list[Any]:
        """Commit a page; the items that this added."""
        with page.commit() as tx:
            fresh: list[Any] = tx.fresh(page.items, key="id")
            rows = [(entity, stream, item["id"], self.role, lease.token) for item in fresh]
            if rows:
                tx.executemany(self.sql(INSERT), rows)
        return fresh

    def pages(self, lease: Any, entity: str, stream: str) -> Iterator[Any]:
        for window in lease.windows(stream, since="beginning", until=END):
            span = (window.start, window.end, self.page_size)
            yield from window.pages(partial(self.source.page, entity, stream, *span))

    def batches(self, lease: Any, entity: str, stream: str) -> Iterator[Any]:
        """The newest half once more, as if they came in just now, in batches of another size."""
        items = self.source.items(entity, stream)
        size = self.page_size * 2 // 3 + 1
        with lease.live(stream, at="at") as live:
            for start in range(len(items) // 2, len(items), size):
                yield live.batch(items[start : start + size])

    def acknowledge(self, stream: str, fresh: list[Any]) -> None:
        if fresh:
            lines = "".join(f"{stream} {item['id']}\n" for item in fresh)
            os.write(self.acknowledged, lines.encode())
            os.write(1, b".")

    def sql(self, text: str) -> str:
        return text if self.is_sqlite else text.replace("?", "%s")


def main(arguments: list[str]) -> None:
    with belaypin.open(arguments[0]) as store:
        Miner(store, Source(arguments[1]), arguments).run()


if __name__ == "__main__":
    main(sys.argv[1:])
