"""Items whose content changes: new, changed or unchanged, by what was committed last."""

from __future__ import annotations

from typing import Any

from belaypin._async.live import AsyncLive
from belaypin._async.store import AsyncStore
from belaypin.errors import UsageError
from belaypin.testing.conformance._async.loop import KEY, opened, write
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import refused
from belaypin.testing.conformance.source import Item, Source, event, one_page


async def _commit(
    place: AsyncPlace,
    store: AsyncStore,
    items: list[Item],
    content: Any = ("body",),
    role: str = "a",
) -> list[tuple[Any, str, str]]:
    """Commit one page; returns id, body and kind of what was fresh."""
    found: list[tuple[Any, str, str]] = []
    async with store.lease(*KEY[:2], role=role) as lease:
        async for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
            async for page in window.pages(one_page(items)):
                async with page.commit() as tx:
                    fresh = await tx.fresh(page.items, key="id", content=content)
                    await write(place, tx, fresh)
                    found += [(item["id"], item["body"], tx.kind(item)) for item in fresh]
    return found


def _rows(place: AsyncPlace) -> list[tuple[str, str]]:
    return sorted((row[0], row[1]) for row in place.query("SELECT id, body FROM effect"))


async def check_new_changed_and_unchanged(place: AsyncPlace) -> None:
    store = await opened(place)
    one, two = event(1, body="a"), event(2, body="b")
    assert await _commit(place, store, [one, two]) == [(1, "a", "new"), (2, "b", "new")]
    assert await _commit(place, store, [one, two]) == []
    edited = event(1, body="edited")
    assert await _commit(place, store, [edited, two]) == [(1, "edited", "changed")]
    assert await _commit(place, store, [edited, two], role="b") == []
    # Back to what it once was: that is a change as well.
    assert await _commit(place, store, [one, two]) == [(1, "a", "changed")]
    assert _rows(place) == [("1", "a"), ("1", "a"), ("1", "edited"), ("2", "b")]


async def check_the_last_of_several_edits_counts(place: AsyncPlace) -> None:
    store = await opened(place)
    edits = [event(1, body="old"), event(2), event(1, body="mid"), event(1, body="new")]
    assert await _commit(place, store, edits) == [(1, "new", "new"), (2, "", "new")]
    assert await _commit(place, store, [event(1, body="new")]) == []
    assert await _commit(place, store, edits[2:]) == []


async def check_only_the_named_fields_count(place: AsyncPlace) -> None:
    store = await opened(place)
    item = {"id": 1, "body": "a", "meta": {"tags": ["x"]}, "fetched_at": 1}
    assert len(await _commit(place, store, [item], ["body", "meta.tags"])) == 1
    again = {"fetched_at": 2, "meta": {"tags": ["x"], "seen": 9}, "body": "a", "id": 1}
    assert await _commit(place, store, [again], ["body", "meta.tags"]) == []
    tagged = {**item, "meta": {"tags": ["y"]}}
    assert len(await _commit(place, store, [tagged], ["body", "meta.tags"])) == 1


async def check_content_by_callable(place: AsyncPlace) -> None:
    store = await opened(place)

    def lower(item: Item) -> str:
        return str(item["body"]).lower()

    assert len(await _commit(place, store, [event(1, body="A")], lower)) == 1
    assert await _commit(place, store, [event(1, body="a")], lower) == []
    assert len(await _commit(place, store, [event(1, body="b")], lower)) == 1


async def check_content_that_is_declared_later(place: AsyncPlace) -> None:
    """Nobody knows what was processed then, so it is processed once more, as a change."""
    store = await opened(place)
    item = event(1, body="a")
    assert await _commit(place, store, [item], None) == [(1, "a", "new")]
    assert await _commit(place, store, [item]) == [(1, "a", "changed")]
    assert await _commit(place, store, [item]) == []
    assert await _commit(place, store, [event(1, body="b")], None) == []
    assert await _commit(place, store, [item]) == []


async def check_an_edit_by_another_role_is_seen(place: AsyncPlace) -> None:
    store = await opened(place)
    old, new = event(1, body="old"), event(1, body="new")
    await _commit(place, store, [old], role="a")
    assert await _commit(place, store, [new], role="b") == [(1, "new", "changed")]
    assert await _commit(place, store, [new], role="a") == []
    assert await _commit(place, store, [old], role="a") == [(1, "old", "changed")]


async def check_workers_see_each_others_edits(place: AsyncPlace) -> None:
    """What one remembers may be older than what the other committed: it must not decide by it."""
    store = await opened(place)
    old, new = event(1, body="old"), event(1, body="new")
    async with (
        store.lease(*KEY[:2], role="a") as first,
        store.lease(*KEY[:2], role="b") as second,
        first.live(KEY[2], at="at") as a,
        second.live(KEY[2], at="at") as b,
    ):
        assert await _hear(a, old) == ["new"]
        assert await _hear(a, old) == []
        assert await _hear(b, new) == ["changed"]
        assert await _hear(a, old) == ["changed"]
        assert await _hear(b, old) == []
        assert await _hear(b, new, event(2)) == ["changed", "new"]
        assert await _hear(a, new, event(2)) == []


async def _hear(live: AsyncLive, *items: Item) -> list[str]:
    async with live.batch(items).commit() as tx:
        fresh = await tx.fresh(items, key="id", content=["body"])
        return [tx.kind(item) for item in fresh]


async def check_edits_survive_merging(place: AsyncPlace) -> None:
    store = await opened(place)
    async with store.lease(*KEY[:2]) as lease:
        async for window in lease.windows(KEY[2], since="beginning"):
            source = Source((event(n % 7, body=str(n)) for n in range(80)), page_items=1)
            async for page in window.pages(source.fetch):
                async with page.commit() as tx:
                    assert len(await tx.fresh(page.items, key="id", content=["body"])) == 1
    last = {n % 7: str(n) for n in range(80)}
    assert await _commit(place, store, [event(n, body=last[n]) for n in range(7)]) == []
    assert len(await _commit(place, store, [event(n, body="0") for n in range(7)])) == 7


async def check_a_key_names_the_content_too(place: AsyncPlace) -> None:
    store, keys = await opened(place), []
    for body in ("a", "b"):
        async with store.lease(*KEY[:2]) as lease:
            async for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
                async for page in window.pages(one_page([event(1, body=body)])):
                    async with page.commit() as tx:
                        (item,) = await tx.fresh(page.items, key="id", content=["body"])
                        keys.append(tx.idempotency_key(item))
    assert len({*keys}) == 2


async def check_content_without_a_canonical_form_is_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    bodies = (float("nan"), 2**60, "\ud800", {1: 2}, object())
    for item in [{"id": 1}, *({"id": 1, "body": body} for body in bodies)]:
        async with store.lease(*KEY[:2]) as lease:
            async for window in lease.windows(KEY[2], since="beginning"):
                async for page in window.pages(one_page([item])):
                    with refused(place, UsageError):
                        async with page.commit() as tx:
                            await tx.fresh(page.items, key="id", content=["body"])
                    break
