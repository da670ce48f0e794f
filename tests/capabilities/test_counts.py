"""The counts of a stream: what was committed, no more, whatever pages they came in."""

from __future__ import annotations

from typing import Any

import pytest

from tests.capabilities.sites import Site

KEY = ("shop", "user:7", "orders")


async def mine(store: Any, pages: list[list[int]]) -> None:
    def fetch(cursor: Any) -> tuple[list[dict[str, int]], int | None]:
        at = cursor or 0
        return [{"id": n} for n in pages[at]], at + 1 if at + 1 < len(pages) else None

    async with store.lease("shop", "user:7") as lease:
        async for window in lease.windows("orders", since="1d", overlap="1d"):
            async for page in window.pages(fetch):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")


@pytest.mark.parametrize("news", [[], [7], [8, 9]])
async def test_what_is_skipped_is_counted_once_also_where_pages_bring_nothing_new(
    site: Site, news: list[int]
) -> None:
    store = await site.open()
    await mine(store, [[1, 2, 2], [3]])
    assert await counts(store) == (3, 1)
    await mine(store, [[1, 2], [2, 3], [1, *news], [2], [3, 3]])
    assert await counts(store) == (3 + len(news), 1 + 8)


async def counts(store: Any) -> tuple[int, int]:
    checkpoint = await store.load(KEY)
    return checkpoint.items, checkpoint.skipped
