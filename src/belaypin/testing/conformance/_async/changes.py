"""Whole documents: processed when they are new or changed, and only then."""

from __future__ import annotations

from functools import partial
from typing import Any

from belaypin._async.store import AsyncStore
from belaypin.errors import UsageError
from belaypin.testing.conformance._async.loop import KEY, effects, opened, together
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused

ENTITY = KEY[:2]


async def _change(store: AsyncStore, content: Any, role: str = "main", **options: Any) -> str:
    async with (
        store.lease(*ENTITY, role=role) as lease,
        lease.changed("profile", content, **options) as change,
    ):
        if change:
            await change.tx.execute("INSERT INTO effect (id) VALUES ('x')")
        return change.kind


async def check_new_changed_unchanged(place: AsyncPlace) -> None:
    store = await opened(place)
    assert await _change(store, {"a": 1, "b": [1, 2]}) == "new"
    assert await _change(store, {"b": [1, 2], "a": 1}) == "unchanged"
    assert await _change(store, {"b": [2, 1], "a": 1}) == "changed"
    assert await _change(store, {"a": 1, "b": [1, 2]}, "other") == "changed"
    assert await _change(store, {"a": 1.0, "b": [1, 2]}, "other") == "unchanged"
    assert len(effects(place)) == 3


async def check_ignored_fields_do_not_count(place: AsyncPlace) -> None:
    store, ignore = await opened(place), ["fetched_at", "meta.etag"]
    document = {"name": "a", "fetched_at": 1, "meta": {"etag": "x", "lang": "de"}}
    assert await _change(store, document, ignore=ignore) == "new"
    again = {"name": "a", "fetched_at": 2, "meta": {"etag": "y", "lang": "de"}}
    assert await _change(store, again, ignore=ignore) == "unchanged"
    assert await _change(store, {**again, "meta": {"lang": "fr"}}, ignore=ignore) == "changed"


async def check_a_change_that_fails_is_seen_again(place: AsyncPlace) -> None:
    store = await opened(place)
    for content, kind in (({"a": 1}, "new"), ({"a": 2}, "changed")):
        async with store.lease(*ENTITY) as lease:
            # The stream's own row may be made before the block.
            async with lease.changed("profile", content) as change:
                assert change.kind == kind
                before = effects(place) if kind == "changed" else None
            assert before is None or effects(place) == before
        async with store.lease(*ENTITY) as lease:
            with raises(ZeroDivisionError):
                async with lease.changed("profile", {"a": 9}) as change:
                    await change.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
                    raise ZeroDivisionError
            async with lease.changed("profile", content) as change:
                assert change.kind == "unchanged"
    assert effects(place) == []


async def check_nothing_to_write_where_nothing_changed(place: AsyncPlace) -> None:
    store = await opened(place)
    await _change(store, {"a": 1})
    async with store.lease(*ENTITY) as lease, lease.changed("profile", {"a": 1}) as change:
        assert not change
        with raises(UsageError, "if change"):
            _ = change.tx


async def check_roles_at_the_same_time_process_once(place: AsyncPlace) -> None:
    await opened(place)

    async def work(role: str) -> str:
        return await _change(await place.open(), {"a": 1}, role)

    kinds = await together([partial(work, role) for role in "abcd"])
    assert sorted(map(str, kinds)) == ["new", "unchanged", "unchanged", "unchanged"]
    assert effects(place) == ["x"]


async def check_documents_without_a_canonical_form_are_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    circle: dict[str, Any] = {}
    circle["self"] = circle
    bad: list[Any] = [float("nan"), {"a": 2**53 + 1}, {1: "a"}, {"a": "\ud800"}, {"a": {1}}, circle]
    async with store.lease(*ENTITY) as lease:
        for content in bad:
            with refused(place, UsageError):
                lease.changed("profile", content)


async def check_seen_again_is_noted(place: AsyncPlace) -> None:
    store = await opened(place)
    for _ in range(4):
        await _change(store, {"a": 1})
    counts = "SELECT changed, skipped, version FROM belaypin_checkpoint WHERE stream = 'profile'"
    assert place.query(counts) == [(1, 3, 1)]
