"""The miner with everything switched on, to be killed as the plain one is.

    python full_miner.py URL INDEX ACKNOWLEDGED ROLE PAGE_SIZE TTL_S

A component counts what is committed, items are attempted one by one and some fail at first, contents
are compared, a message goes with each page, processors and horizons are declared. Each start plans
and carries out a recovery; a savepoint is taken of each entity that is finished. The keys of the
messages that were delivered are appended to the file ACKNOWLEDGED.delivered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import belaypin

if __package__:
    from tests.crash.miner import INSERT, PIPELINE, Miner
    from tests.crash.source import END, Source
else:  # run as a script
    from miner import INSERT, PIPELINE, Miner  # type: ignore[import-not-found,no-redef]
    from source import END, Source  # type: ignore[import-not-found,no-redef]

__all__ = ["TOPIC", "TOTALS", "FullMiner"]

TOPIC, TOTALS = "pages", "totals"
# It is not the items that kill us; and what fails may be tried again at once.
INNOCENT = belaypin.Retry(max_attempts=1_000_000, backoff=0, jitter=0, isolate_after=None)


class Totals:
    """How many items of each stream were committed."""

    is_complete = False

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def add(self, stream: str, count: int) -> None:
        self.items[stream] = self.items.get(stream, 0) + count

    def snapshot(self) -> dict[str, int]:
        return self.items

    def restore(self, state: dict[str, int]) -> None:
        self.items = state


class FullMiner(Miner):
    def run(self) -> None:
        self.store.recover()
        super().run()
        self.deliver()
        self.store.gc(belaypin.Retention())

    def visit(self, entity: str) -> None:
        super().visit(entity)
        entity_key = (PIPELINE, entity)
        # We may have been killed when it was taken, before the entity was noted as finished.
        if not self.store.savepoints(entity_key):
            self.store.savepoint(entity_key, "finished")

    def mine(self, lease: Any, entity: str) -> None:
        self.totals = lease.attach(TOTALS, Totals())
        super().mine(lease, entity)

    def pages(self, lease: Any, entity: str, stream: str) -> Iterator[Any]:
        """All pages, and those of what failed, until nothing has."""
        is_done = False
        while not is_done:
            windows = lease.windows(
                stream,
                since="beginning",
                until=END,
                at="at",
                horizon="36500d",
                processor=1,
                retry=INNOCENT,
            )
            for window in windows:
                self.is_retry = window.is_retry
                span = (window.start, window.end, self.page_size)
                yield from window.pages(partial(self.source.page, entity, stream, *span))
            is_done = not self.store.failures(PIPELINE, entity, stream, limit=1)

    def committed(self, lease: Any, entity: str, stream: str, page: Any) -> list[Any]:
        done = []
        with page.commit() as tx:
            for item in tx.fresh(page.items, key="id", content=["id"]):
                payload = {"id": item["id"], "at": str(item["at"])}
                with tx.attempt(item, payload=payload) as trial:
                    row = (entity, stream, item["id"], self.role, lease.token)
                    tx.execute(self.sql(INSERT), row)
                    if item["id"] % 11 == 0 and not self.is_retry:
                        raise ValueError("not at first")
                if not trial.failed:
                    done.append(item)
            if done:
                self.totals.add(stream, len(done))
                tx.send(TOPIC, {"items": len(done)}, key=f"{entity} {stream} {done[0]['id']}")
        return done

    def deliver(self) -> None:
        """At least once: to a file that is never written but at its end."""
        delivered = os.open(f"{self.told}.delivered", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.store.deliver(TOPIC, lambda message: os.write(delivered, f"{message.key}\n".encode()))
        os.close(delivered)


def main(arguments: list[str]) -> None:
    with belaypin.open(arguments[0]) as store:
        FullMiner(store, Source(arguments[1]), arguments).run()


if __name__ == "__main__":
    main(sys.argv[1:])
