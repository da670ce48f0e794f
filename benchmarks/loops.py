"""The two loops that are compared: the miner with belaypin, and the same without a checkpoint.

Both fetch a page, build rows from its items and commit them in one transaction. Each is a generator
that stops after every page, so that two can also be run in turns, page by page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import belaypin
from benchmarks.databases import Plain
from benchmarks.source import Item

__all__ = ["Fetch", "Writer", "baseline", "mine", "writer"]

Fetch = Callable[[Any], tuple[list[Item], Any]]
Row = tuple[Any, ...]
_COLUMNS = ("id", "author_id", "created_at", "title", "body", "score")


class Writer(Protocol):
    """Writes a page's rows through ``tx``: belaypin's, or the driver's own connection or cursor."""

    def __call__(self, tx: Any, items: Sequence[Item]) -> None: ...


def baseline(plain: Plain, fetch: Fetch, write: Writer) -> Iterator[None]:
    """The loop as it is without checkpoints: it can't resume, and writes all again each time."""
    cursor = None
    while True:
        items, cursor = fetch(cursor)
        with plain.page() as tx:
            write(tx, items)
        yield
        if cursor is None:
            return


def mine(
    store: belaypin.Store, fetch: Fetch, write: Writer, *, at: str | None = None, **fresh: Any
) -> Iterator[None]:
    """The loop with belaypin, as the README shows it; ``fresh``: more options of tx.fresh."""
    with store.lease("benchmark", "posts") as lease:
        for window in lease.windows("posts", since="beginning", overlap="36500d", at=at):
            for page in window.pages(fetch):
                with page.commit() as tx:
                    items = tx.fresh(page.items, key="id", **fresh)
                    if items:
                        write(tx, items)
                yield


def writer(name: str, insert: str) -> Writer:
    """The way of writing called "executemany", "execute" (a statement an item) or "copy"."""

    def executemany(tx: Any, items: Sequence[Item]) -> None:
        tx.executemany(insert, [_row(item) for item in items])

    def execute(tx: Any, items: Sequence[Item]) -> None:
        for item in items:
            tx.execute(insert, _row(item))

    def copy(tx: Any, items: Sequence[Item]) -> None:
        rows = [_row(item) for item in items]
        if hasattr(tx, "fresh"):
            tx.copy("posts", _COLUMNS, rows)
            return
        with tx.copy("COPY posts FROM STDIN") as copying:
            for row in rows:
                copying.write_row(row)

    return {"executemany": executemany, "execute": execute, "copy": copy}[name]


def _row(post: Item) -> Row:
    author = post["author"]["id"]
    return post["id"], author, post["created_at"], post["title"], post["body"], post["score"]
