"""Failures in groups by error: of all that fit, a stretch of the store's newest at a time."""

from __future__ import annotations

from typing import Any

import pytest

from belaypin import FailureGroups, UsageError
from tests.capabilities.sites import START, FixedClock, Site

ERRORS = ("TimeoutError: the read timed out", "requests.HTTPError: 503", "gone for ever, says Ada")


async def fail(store: Any, clock: FixedClock, entity: str, count: int) -> None:
    """Put so many items aside, one a second, with each error in turn."""
    async with store.lease("shop", entity, ttl_s="1d") as lease:
        async for window in lease.windows("orders", since="1h"):
            async for page in window.pages(
                lambda _cursor: ([{"id": n} for n in range(count)], None)
            ):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
    for number in range(count):
        clock.advance(1)
        await store.quarantine(("shop", entity, "orders"), number + count, ERRORS[number % 3])


def counts(found: FailureGroups) -> dict[str, int]:
    return {group.error: group.total for group in found.groups}


async def test_failures_are_grouped_by_the_class_of_their_error(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    assert await store.failure_groups() == FailureGroups()
    await fail(store, clock, "a", 7)
    await fail(store, clock, "b", 4)
    found = await store.failure_groups()
    assert (found.looked_at, found.total, found.next) == (11, 11, None)
    assert [(group.error, group.total) for group in found.groups] == [
        ("TimeoutError", 5),
        ("gone for ever, says Ada", 3),
        ("requests.HTTPError", 3),
    ]
    first = found.groups[0]
    assert (first.example, first.quarantined, first.waiting) == (ERRORS[0], 5, 0)
    assert (first.last_failed_at - first.first_failed_at).total_seconds() == 10
    assert sum(count for _, count in found.trend) == 11
    assert found.trend[0][0] == first.first_failed_at > START
    assert await store.replay("shop", error="TimeoutError") == 5
    assert (await store.failure_groups(status="waiting")).groups[0].waiting == 5
    for chosen, total in (
        ({"error": "Timeout"}, 5),
        ({"pipeline": "shop", "entity": "b"}, 4),
        ({"pipeline": "shop", "entity": "b", "stream": "orders", "error": "requests"}, 1),
        ({"pipeline": "other"}, 0),
        ({"status": "quarantined"}, 6),
    ):
        assert (await store.failure_groups(**chosen)).total == total, chosen


async def test_the_walk_goes_on_with_older_ones(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await fail(store, clock, "a", 6)
    await fail(store, clock, "b", 5)
    for limit in (1, 4, 11, 12):
        total, looked_at, before = 0, 0, None
        seen: dict[str, int] = {}
        while True:
            found = await store.failure_groups("shop", "a", limit=limit, before=before)
            assert found.looked_at <= limit
            total, looked_at = total + found.total, looked_at + found.looked_at
            for error, count in counts(found).items():
                seen[error] = seen.get(error, 0) + count
            before = found.next
            if before is None:
                break
        assert (total, looked_at) == (6, 11)
        assert seen == counts(await store.failure_groups("shop", "a"))
    with pytest.raises(UsageError):
        await store.failure_groups(limit=0)
    with pytest.raises(UsageError):
        await store.failure_groups(entity="a")
