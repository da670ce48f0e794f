# Generated from src/belaypin/testing/conformance/_async/content.py by tools/generate_sync.py; do not edit.
"""Items whose content changes: new, changed or unchanged, by what was committed last."""

from __future__ import annotations

from typing import Any

from belaypin._sync.live import Live
from belaypin._sync.store import Store
from belaypin.errors import UsageError
from belaypin.testing.conformance._sync.loop import KEY, opened, write
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import refused
from belaypin.testing.conformance.source import Item, Source, event, one_page


def _commit(
    place: Place,
    store: Store,
    items: list[Item],
    content: Any = ("body",),
    role: str = "a",
) -> list[tuple[Any, str, str]]:
    """Commit one page; returns id, body and kind of what was fresh."""
    found: list[tuple[Any, str, str]] = []
    with store.lease(*KEY[:2], role=role) as lease:
        for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
            for page in window.pages(one_page(items)):
                with page.commit() as tx:
                    fresh = tx.fresh(page.items, key="id", content=content)
                    write(place, tx, fresh)
                    found += [(item["id"], item["body"], tx.kind(item)) for item in fresh]
    return found


def _rows(place: Place) -> list[tuple[str, str]]:
    return sorted((row[0], row[1]) for row in place.query("SELECT id, body FROM effect"))


def check_new_changed_and_unchanged(place: Place) -> None:
    store = opened(place)
    one, two = event(1, body="a"), event(2, body="b")
    assert _commit(place, store, [one, two]) == [(1, "a", "new"), (2, "b", "new")]
    assert _commit(place, store, [one, two]) == []
    edited = event(1, body="edited")
    assert _commit(place, store, [edited, two]) == [(1, "edited", "changed")]
    assert _commit(place, store, [edited, two], role="b") == []
    # Back to what it once was: that is a change as well.
    assert _commit(place, store, [one, two]) == [(1, "a", "changed")]
    assert _rows(place) == [("1", "a"), ("1", "a"), ("1", "edited"), ("2", "b")]


def check_the_last_of_several_edits_counts(place: Place) -> None:
    store = opened(place)
    edits = [event(1, body="old"), event(2), event(1, body="mid"), event(1, body="new")]
    assert _commit(place, store, edits) == [(1, "new", "new"), (2, "", "new")]
    assert _commit(place, store, [event(1, body="new")]) == []
    assert _commit(place, store, edits[2:]) == []


def check_only_the_named_fields_count(place: Place) -> None:
    store = opened(place)
    item = {"id": 1, "body": "a", "meta": {"tags": ["x"]}, "fetched_at": 1}
    assert len(_commit(place, store, [item], ["body", "meta.tags"])) == 1
    again = {"fetched_at": 2, "meta": {"tags": ["x"], "seen": 9}, "body": "a", "id": 1}
    assert _commit(place, store, [again], ["body", "meta.tags"]) == []
    tagged = {**item, "meta": {"tags": ["y"]}}
    assert len(_commit(place, store, [tagged], ["body", "meta.tags"])) == 1


def check_content_by_callable(place: Place) -> None:
    store = opened(place)

    def lower(item: Item) -> str:
        return str(item["body"]).lower()

    assert len(_commit(place, store, [event(1, body="A")], lower)) == 1
    assert _commit(place, store, [event(1, body="a")], lower) == []
    assert len(_commit(place, store, [event(1, body="b")], lower)) == 1


def check_content_that_is_declared_later(place: Place) -> None:
    """Nobody knows what was processed then, so it is processed once more, as a change."""
    store = opened(place)
    item = event(1, body="a")
    assert _commit(place, store, [item], None) == [(1, "a", "new")]
    assert _commit(place, store, [item]) == [(1, "a", "changed")]
    assert _commit(place, store, [item]) == []
    assert _commit(place, store, [event(1, body="b")], None) == []
    assert _commit(place, store, [item]) == []


def check_an_edit_by_another_role_is_seen(place: Place) -> None:
    store = opened(place)
    old, new = event(1, body="old"), event(1, body="new")
    _commit(place, store, [old], role="a")
    assert _commit(place, store, [new], role="b") == [(1, "new", "changed")]
    assert _commit(place, store, [new], role="a") == []
    assert _commit(place, store, [old], role="a") == [(1, "old", "changed")]


def check_workers_see_each_others_edits(place: Place) -> None:
    """What one remembers may be older than what the other committed: it must not decide by it."""
    store = opened(place)
    old, new = event(1, body="old"), event(1, body="new")
    with (
        store.lease(*KEY[:2], role="a") as first,
        store.lease(*KEY[:2], role="b") as second,
        first.live(KEY[2], at="at") as a,
        second.live(KEY[2], at="at") as b,
    ):
        assert _hear(a, old) == ["new"]
        assert _hear(a, old) == []
        assert _hear(b, new) == ["changed"]
        assert _hear(a, old) == ["changed"]
        assert _hear(b, old) == []
        assert _hear(b, new, event(2)) == ["changed", "new"]
        assert _hear(a, new, event(2)) == []


def _hear(live: Live, *items: Item) -> list[str]:
    with live.batch(items).commit() as tx:
        fresh = tx.fresh(items, key="id", content=["body"])
        return [tx.kind(item) for item in fresh]


def check_edits_survive_merging(place: Place) -> None:
    store = opened(place)
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since="beginning"):
            source = Source((event(n % 7, body=str(n)) for n in range(80)), page_items=1)
            for page in window.pages(source.fetch):
                with page.commit() as tx:
                    assert len(tx.fresh(page.items, key="id", content=["body"])) == 1
    last = {n % 7: str(n) for n in range(80)}
    assert _commit(place, store, [event(n, body=last[n]) for n in range(7)]) == []
    assert len(_commit(place, store, [event(n, body="0") for n in range(7)])) == 7


def check_a_key_names_the_content_too(place: Place) -> None:
    store, keys = opened(place), []
    for body in ("a", "b"):
        with store.lease(*KEY[:2]) as lease:
            for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
                for page in window.pages(one_page([event(1, body=body)])):
                    with page.commit() as tx:
                        (item,) = tx.fresh(page.items, key="id", content=["body"])
                        keys.append(tx.idempotency_key(item))
    assert len({*keys}) == 2


def check_content_without_a_canonical_form_is_refused(place: Place) -> None:
    store = opened(place)
    bodies = (float("nan"), 2**60, "\ud800", {1: 2}, object())
    for item in [{"id": 1}, *({"id": 1, "body": body} for body in bodies)]:
        with store.lease(*KEY[:2]) as lease:
            for window in lease.windows(KEY[2], since="beginning"):
                for page in window.pages(one_page([item])):
                    with refused(place, UsageError):
                        with page.commit() as tx:
                            tx.fresh(page.items, key="id", content=["body"])
                    break
