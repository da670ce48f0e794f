"""A worker that recovers what others left, to be killed, alone or one of many.

    python recoverer.py URL LOG PAGES PAGE_SIZE [PAUSE_S]

It calls ``store.recover`` until nothing is left that is due. Each run of a step appends the entity
to LOG, in one write; after each commit of a page it writes a byte to its standard output.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import belaypin

PIPELINE = "recover"
DEATHS = 1_000_000  # it is killed for the test's sake, not for the entity's or an item's
NOW = belaypin.Retry(max_attempts=1_000_000, backoff=0, isolate_after=None)


def fetch(pages: int, page_size: int, cursor: Any) -> tuple[list[dict[str, int]], Any]:
    """Page after page of what every entity has."""
    page = cursor or 0
    items = [{"id": page * page_size + n} for n in range(page_size)]
    return items, page + 1 if page + 1 < pages else None


def mine(
    lease: belaypin.Lease, pages: int, page_size: int, *, upto: int | None = None, mark: str = "?"
) -> None:
    """All pages of the entity's posts that are missing, or the first of them."""
    sql = f"INSERT INTO effect (entity, id) VALUES ({mark}, {mark})"
    done = 0
    for window in lease.windows("posts", since="1d", retry=NOW):
        for page in window.pages(lambda cursor: fetch(pages, page_size, cursor)):
            with page.commit() as tx:
                rows = [(lease.key.entity, i["id"]) for i in tx.fresh(page.items, key="id")]
                tx.executemany(sql, rows)
            os.write(1, b".")
            done += 1
            if done == upto:
                return


def main(url: str, log: str, pages: str, page_size: str, pause_s: str = "0") -> None:
    mark = "%s" if url.startswith("postgresql") else "?"

    def work(lease: belaypin.Lease, step: belaypin.Step) -> None:
        with open(log, "a", buffering=1) as file:
            file.write(f"{lease.key.entity}\n")
        time.sleep(float(pause_s))
        mine(lease, int(pages), int(page_size), mark=mark)

    with belaypin.open(url) as store:
        while not store.recover(work, deaths=DEATHS, retry=NOW).ok:
            time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
