"""Work for the upkeep tests: the usual loop, and raw changes to what it stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import belaypin

START = "2024-01-01T00:00:00+00:00"


def mine(
    store: belaypin.Store,
    entity: str = "user:7",
    *,
    pages: int = 10,
    per_page: int = 5,
    numbers: bool = False,
    edition: str | None = None,
    stop_after: int | None = None,
    pipeline: str = "social",
) -> None:
    """Commit pages of items to the stream "posts"; ``edition`` is their content."""

    def fetch(cursor: int | None) -> tuple[list[dict[str, Any]], int | None]:
        page = cursor or 0
        serials = range(page * per_page, (page + 1) * per_page)
        ids = [serial if numbers else f"post-{serial}" for serial in serials]
        return [{"id": i, "text": edition} for i in ids], page + 1 if page + 1 < pages else None

    content = None if edition is None else ["text"]
    with store.lease(pipeline, entity) as lease:
        for window in lease.windows("posts", since="30d", overlap="1h"):
            for number, page in enumerate(window.pages(fetch)):
                if number == stop_after:
                    return
                with page.commit() as tx:
                    tx.fresh(page.items, key="id", content=content)


def put_aside(store: belaypin.Store, entity: str) -> None:
    """One more item of a stream that was mined, which fails."""
    with store.lease("social", entity) as lease:
        for window in lease.windows("posts", since="30d", overlap="1h"):
            for page in window.pages(lambda cursor: ([{"id": 98_765}], None)):
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key="id"):
                        with tx.attempt(item):
                            raise ValueError("put aside")


def healthy(store: belaypin.Store) -> None:
    """A store with at least one record of every sort."""
    mine(store, "user:1", pages=12)
    mine(store, "user:2", pages=7, numbers=True)
    mine(store, "user:3", pages=9, edition="first")
    mine(store, "user:3", pages=9, edition="second")
    mine(store, "user:4", pages=6, stop_after=3)
    put_aside(store, "user:2")
    with (
        store.lease("social", "user:1") as lease,
        lease.changed("profile", {"name": "Ada"}) as change,
    ):
        assert change
        change.tx.execute("SELECT 1")
    store.save("social", {"cursor": "x" * 300})
    store.save(("shop", "till:1"), {"pages": 3})
    store.save(("shop", "till:2"), {"log": list(range(20_000))})
    with store.once("invoice:1", request={"amount": 7}) as op:
        op.result = {"ok": True}
    with store.once("invoice:2") as op:
        op.result = list(range(20_000))
    with store.once("invoice:3", result_ttl=0) as op:
        op.tx.send("mail", {"text": "a" * 300}, key="invoice:3")
    store.drop_expired_results()
    store.deliver("mail", lambda message: None)
    store.send("mail", {"text": "b"}, key="invoice:4")


def one(store: belaypin.Store, sql: str, params: Sequence[Any] = ()) -> Any:
    """The first column of the first row."""
    row = store.execute(in_style(store, sql), params).fetchone()
    assert row is not None
    return row[0]


def in_style(store: belaypin.Store, sql: str) -> str:
    """The statement with the driver's own marks in place of ``?``."""
    return sql if store._backend.dialect == "sqlite" else sql.replace("?", "%s")


def change(store: belaypin.Store, sql: str, params: Sequence[Any] = ()) -> None:
    """Change what is stored behind the store's back; at least one row must be hit."""
    assert store.execute(in_style(store, sql), params).rowcount > 0
