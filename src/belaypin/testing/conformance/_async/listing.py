"""Listings: what they tell agrees with what the store tells of each key, and pages join up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from belaypin._async.store import AsyncStore
from belaypin.errors import UsageError
from belaypin.records.listing import Listing, StreamRow
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import commit_all, mine, opened
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused, unchanged
from belaypin.testing.conformance.source import Source, event, events, minute


async def _filled(place: AsyncPlace) -> AsyncStore:
    """Two pipelines; in the first, entities a to f, whose heads lie further and further back."""
    store = await opened(place, clock=FakeClock(minute(100)))
    for number, name in enumerate("abcdef"):
        async with store.lease("shop", name) as lease:
            source = Source(events(3 + number))
            await mine(place, lease, source, "posts", until=minute(60 - number))
            if number % 2:
                await mine(place, lease, Source([]), "tags", since=minute(9), until=minute(20))
    async with store.lease("shop", "c") as lease:
        await mine(place, lease, Source([]), "posts", since=minute(70), until=minute(80))
    async with store.lease("other", "z") as lease:
        await mine(place, lease, Source([event("x")]), until=minute(1))
    return store


def _names(listing: Listing[Any]) -> list[str]:
    return [" ".join(row.key.parts[1:]) for row in listing]


async def check_pipelines_are_named_in_order(place: AsyncPlace) -> None:
    store = await place.open()
    assert await store.pipelines() == []
    store = await _filled(place)
    assert await store.pipelines() == ["other", "shop"]


async def check_a_row_is_what_status_says(place: AsyncPlace) -> None:
    store = await _filled(place)
    entities = await store.entities()
    assert _names(entities) == ["z", *"abcdef"]
    for entity in entities:
        status = await store.status(entity.key)
        told = (status.status, status.items, status.gaps, status.lag, status.lag_key)
        assert (entity.status, entity.items, entity.gaps, entity.lag, entity.lag_key) == told
        assert entity.attempts == status.attempts
    for stream in await store.streams():
        status = await store.status(stream.key)
        assert (stream.status, stream.lag) == (status.status, status.lag)
        assert (stream.items, stream.gaps) == (status.items, status.gaps)
        covered = await store.coverage(stream.key)
        assert (stream.covered_from, stream.head) == (covered[0].start, covered[0].end)


async def check_pages_join_up_in_every_order(place: AsyncPlace) -> None:
    store = await _filled(place)
    for order in ("key", "lag", "updated"):
        options: dict[str, Any] = {"pipeline": "shop", "order": order}
        for listed in (store.entities, store.streams):
            whole = await listed(**options)
            assert whole.next is None
            paged: list[Any] = []
            after = None
            while True:
                page = await listed(**options, limit=2, after=after)
                paged += page
                after = page.next
                if after is None:
                    break
                assert len(page) == 2
            assert paged == list(whole)
    lags = [row.lag for row in await store.streams(pipeline="shop", order="lag")]
    assert lags == sorted(lags, key=lambda lag: lag or timedelta(0), reverse=True)
    assert _names(await store.entities(pipeline="shop", order="lag"))[:3] == ["b", "d", "f"]
    updates = [row.updated_at for row in await store.streams(pipeline="shop", order="updated")]
    assert updates == sorted(updates, reverse=True)


async def check_filters_pick_rows(place: AsyncPlace) -> None:
    store = await _filled(place)
    expected = {
        "stream:tags": ["b tags", "d tags", "f tags"],
        "entity:c gaps>0": ["c posts"],
        "-stream:tags lag>44m entity:f": ["f posts"],
        "lag>=80m pipeline:shop": ["b tags", "d tags", "f tags"],
        "items>=7 entity:*": ["e posts", "f posts"],
        "TAG -d": ["b tags", "f tags"],
        "state:open stream:posts items:3": ["a posts"],
        "error~boom": [],
        "pipeline:nowhere": [],
        "pipeline:shop pipeline:other": [],
    }
    for where, names in expected.items():
        assert _names(await store.streams(where)) == names, where
    assert _names(await store.entities("gaps>0")) == ["c"]
    assert _names(await store.entities("items<4", pipeline="shop")) == ["a"]
    assert _names(await store.streams(pipeline="shop", entity="b")) == ["b posts", "b tags"]


async def check_leases_are_listed_with_their_holders(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    for name in ("a", "b"):
        await store.lease("shop", name, ttl_s=60 if name == "a" else 600).acquire()
    async with store.lease("shop", "c"):
        pass
    clock.advance("2m")
    live, expired = await store.leases("state:live"), await store.leases("state:expired")
    assert (_names(live), _names(expired)) == (["b"], ["a"])
    assert [row.state for row in await store.leases()] == ["expired", "live"]
    released = (await store.leases("state:released")).rows
    assert [(row.key.entity, row.expires_at) for row in released] == [("c", None)]
    holder = live.rows[0]
    assert holder.pid
    assert holder.ttl == timedelta(minutes=10)
    assert holder.owner.startswith(f"{holder.host}/")
    assert _names(await store.leases(f"owner:{holder.host}* role:main updated>1m")) == ["a", "b"]
    with raises(UsageError, "Leases have no field", "role"):
        await store.leases("items>3")
    words = {row.key.entity: row.status for row in await store.entities("owner:*")}
    assert words == {"a": "interrupted", "b": "working"}


async def check_items_are_listed_and_searched(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    key = ("shop", "a", "posts")
    ids = [f"post-{number}" for number in range(9)]
    async with store.lease(*key[:2]) as lease:
        source = Source([event(item_id, number) for number, item_id in enumerate(ids)])
        async for window in lease.windows(key[2], since=minute(0)):
            fetch = source.within(window)
            await commit_all(place, window, fetch, revision="at", content=["body"])
    rows = (await store.items(key)).rows
    assert sorted(row.item_id for row in rows) == ids
    assert all(row.fingerprint and row.revision for row in rows)
    paged: list[Any] = []
    after = None
    while True:
        page = await store.items(key, limit=2, after=after)
        paged += page
        after = page.next
        if after is None:
            break
    assert tuple(paged) == rows
    assert [row.item_id for row in await store.items(key, contains="t-7")] == ["post-7"]
    assert (await store.items(("shop", "nobody", "posts"))).rows == ()


async def check_gaps_are_listed_by_key_oldest_first(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(100)))
    for name in ("a", "b"):
        async with store.lease("shop", name) as lease:
            for start in (40, 0, 20, 60):
                end = minute(start + 10)
                await mine(place, lease, Source([]), since=minute(start), until=end)
    whole = await store.gap_list()
    spans = [(row.key.entity, row.start, row.end) for row in whole]
    assert spans == [(n, minute(m), minute(m + 10)) for n in "ab" for m in (10, 30, 50)]
    assert all(row.duration == timedelta(minutes=10) for row in whole)
    paged: list[Any] = []
    after = None
    while True:
        page = await store.gap_list(limit=2, after=after)
        paged += page
        after = page.next
        if after is None:
            break
    assert paged == list(whole)
    assert len(await store.gap_list("entity:b")) == 3


async def check_operations_are_listed(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    for number in range(3):
        async with store.once(f"charge:{number}") as op:
            op.result = number
    with raises(ZeroDivisionError):
        async with store.once("charge:7"):
            raise ZeroDivisionError
    whole = await store.operations()
    assert [(row.id, row.status) for row in whole] == [
        *((f"charge:{number}", "done") for number in range(3)),
        ("charge:7", "failed"),
    ]
    first = await store.operations(limit=3)
    rest = await store.operations(limit=3, after=first.next)
    assert [*first, *rest] == list(whole)
    failed = (await store.operations(status="failed")).rows
    assert [(row.id, row.attempts) for row in failed] == [("charge:7", 1)]
    assert "ZeroDivisionError" in str(failed[0].error)


async def check_listings_write_nothing_and_refuse_what_is_none(place: AsyncPlace) -> None:
    store = await _filled(place)
    with unchanged(place):
        await store.entities("state:open", order="lag")
        await store.streams("x")
        await store.gap_list()
        await store.leases("state:released")
    page = await store.streams(limit=1)
    assert isinstance(page.rows[0], StreamRow)
    assert page.rows[0].as_dict()["lag"] == 6000 - 60
    bad: list[dict[str, Any]] = [
        {"limit": 0},
        {"order": "size"},
        {"after": "nonsense"},
        {"after": page.next, "order": "lag"},
        {"entity": "a"},
        {"pipeline": "a\0b"},
        {"where": "nothing:7"},
    ]
    for options in bad:
        with refused(place, UsageError):
            await store.streams(**options)
    with refused(place, UsageError, "stream"):
        await store.entities("stream:posts")
    with refused(place, UsageError):
        await store.operations(status="odd")  # type: ignore[arg-type]


async def check_rows_are_counted_up_to_a_cap(place: AsyncPlace) -> None:
    store = await _filled(place)
    assert await store.count("") == 10
    assert await store.count("", "entities") == 7
    assert await store.count("stream:tags", pipeline="shop") == 3
    assert await store.count("state:live", "leases") == 0
    assert (await store.count("")).is_exact
    capped = await store.count("", cap=4)
    assert (capped, capped.is_exact, str(capped)) == (4, False, "4+")
    assert await store.count("pipeline:a pipeline:b") == 0
    with raises(UsageError, "kind"):
        await store.count("", "items")  # type: ignore[arg-type]


async def check_storage_is_told_kind_by_kind(place: AsyncPlace) -> None:
    store = await _filled(place)
    await store.save(("shop", "a"), {"pages": 3})
    whole = await store.storage()
    kinds = {kind.kind: kind for kind in whole.kinds}
    health = await store.health()
    assert kinds["keys"].rows == health.keys
    assert kinds["keys"].bytes == health.state_bytes > 0
    ledger = (kinds["ledger"].rows, kinds["ledger"].bytes, kinds["ledger"].raw_bytes)
    assert ledger == (health.segments, health.ledger_bytes, health.ledger_raw_bytes)
    assert kinds["coverage"].rows == 11
    assert whole.database_bytes > whole.bytes > 0
    part = await store.storage(pipeline="other")
    assert {kind.kind: kind.rows for kind in part.kinds}["coverage"] == 1
    told = whole.as_dict()
    assert told["rows"] == whole.rows
    assert any(kind["ratio"] for kind in told["kinds"])


async def check_what_the_database_keeps_for_listings_is_true(place: AsyncPlace) -> None:
    """Whatever moves a coverage: windows, failures, rewinds, forks, newer code, an older one."""
    clock = FakeClock(minute(100))
    store = await opened(place, clock=clock)
    key = ("shop", "a", "posts")

    async def kept(entity: str = "a") -> tuple[Any, int]:
        (row,) = await store.streams(pipeline="shop", entity=entity)
        covered = await store.coverage(row.key)
        head = covered[0].end if covered else None
        assert (row.head, row.gaps) == (head, max(0, len(covered) - 1))
        assert row.lag == (None if head is None else clock.now - head)
        return row.head, row.gaps

    async with store.lease(*key[:2]) as lease:
        for start, end in ((10, 20), (30, 40), (20, 25), (0, 5), (5, 10), (25, 30), (50, 60)):
            await mine(place, lease, Source([]), since=minute(start), until=minute(end))
            await kept()
    assert await kept() == (minute(40), 1)
    await store.savepoint(key[:2], "before")
    await store.reopen(key, minute(15), minute(20))
    assert await kept() == (minute(15), 2)
    await store.fork(key[:2], ("shop", "b"))
    assert await kept("b") == (minute(15), 2)
    await store.reset(key)
    assert await kept() == (None, 0)
    await store.rewind(key[:2], to="before")
    assert await kept() == (minute(40), 1)
    async with store.lease(*key[:2]) as lease:
        later = [event(1, 62), event(2, 64)]
        async for window in lease.windows("posts", since=minute(60), until=minute(70), at="at"):
            async for page in window.pages(Source(later).within(window)):
                async with page.commit() as tx:
                    for item in await tx.fresh(page.items, key="id"):
                        async with tx.attempt(item):
                            raise ZeroDivisionError
    assert await kept() == (minute(40), 3)
    await store.skip(failure_id=(await store.failures("shop"))[0].failure_id)
    assert await kept() == (minute(40), 2)
    async with store.lease(*key[:2]) as lease:
        await mine(place, lease, Source([]), until=minute(3), processor=1)
    assert await kept() == (minute(3), 0)
    await store.gc()
    assert await kept() == (minute(3), 0)
