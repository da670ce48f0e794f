"""A pipeline that writes files, to be killed.

    python sink_miner.py URL FOLDER ENTITIES PAGES ROLE ROW_BYTES [hold]

Before it works it looks at the folder as any reader might: whatever it is killed at, there is never
half a file, and never an item twice. After each commit it writes a byte to its standard output; with
``hold`` it does so inside the first commit, and stays there until it is killed.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import belaypin
from belaypin.clock import sleep_s
from belaypin.sinks import JsonLines

PER_PAGE = 3
WAIT_S = 60
INNOCENT = belaypin.Retry(isolate_after=None)  # it is not the items that kill us


def seen(folder: str | Path) -> Counter[tuple[str, int]]:
    """Every item in every file that a reader sees, read by other code than the product's."""
    found: Counter[tuple[str, int]] = Counter()
    for path in Path(folder).iterdir():
        if path.name.startswith("."):
            continue
        lines = path.read_bytes().split(b"\n")
        assert lines.pop() == b"", f"{path.name} has no newline at its end"
        rows = [json.loads(line) for line in lines]
        assert len(rows) == rows[0]["of"], f"{path.name} has {len(rows)} rows"
        found.update((row["entity"], row["id"]) for row in rows)
    assert all(times == 1 for times in found.values()), found
    return found


def main(
    url: str, folder: str, entities: str, pages: str, role: str, row_bytes: str, hold: str = ""
) -> None:
    last = int(pages) - 1
    text = "x" * int(row_bytes)

    def fetch(cursor: Any) -> tuple[list[dict[str, int]], Any]:
        page = cursor or 0
        items = [{"id": page * PER_PAGE + n} for n in range(PER_PAGE)]
        return items, page + 1 if page < last else None

    with belaypin.open(url) as store:
        sink = JsonLines(folder, name="posts")
        seen(folder)
        for number in range(int(entities)):
            entity = f"user:{number}"
            with store.lease("shop", entity, role=role, wait_s=WAIT_S) as lease:
                for window in lease.windows("posts", since="30d", retry=INNOCENT):
                    for page in window.pages(fetch):
                        with page.commit() as tx:
                            fresh = tx.fresh(page.items, key="id")
                            for item in fresh:
                                row = {"entity": entity, "of": len(fresh), "text": text, **item}
                                sink.write(tx, row)
                            if hold:
                                os.write(1, b".")
                                sleep_s(600)
                        if fresh:
                            os.write(1, b".")
        sink.recover(store)


if __name__ == "__main__":
    main(*sys.argv[1:])
