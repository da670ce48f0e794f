# Generated from src/belaypin/testing/conformance/_async/changes.py by tools/generate_sync.py; do not edit.
"""Whole documents: processed when they are new or changed, and only then."""

from __future__ import annotations

from functools import partial
from typing import Any

from belaypin._sync.store import Store
from belaypin.errors import UsageError
from belaypin.testing.conformance._sync.loop import KEY, effects, opened, together
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused

ENTITY = KEY[:2]


def _change(store: Store, content: Any, role: str = "main", **options: Any) -> str:
    with (
        store.lease(*ENTITY, role=role) as lease,
        lease.changed("profile", content, **options) as change,
    ):
        if change:
            change.tx.execute("INSERT INTO effect (id) VALUES ('x')")
        return change.kind


def check_new_changed_unchanged(place: Place) -> None:
    store = opened(place)
    assert _change(store, {"a": 1, "b": [1, 2]}) == "new"
    assert _change(store, {"b": [1, 2], "a": 1}) == "unchanged"
    assert _change(store, {"b": [2, 1], "a": 1}) == "changed"
    assert _change(store, {"a": 1, "b": [1, 2]}, "other") == "changed"
    assert _change(store, {"a": 1.0, "b": [1, 2]}, "other") == "unchanged"
    assert len(effects(place)) == 3


def check_ignored_fields_do_not_count(place: Place) -> None:
    store, ignore = opened(place), ["fetched_at", "meta.etag"]
    document = {"name": "a", "fetched_at": 1, "meta": {"etag": "x", "lang": "de"}}
    assert _change(store, document, ignore=ignore) == "new"
    again = {"name": "a", "fetched_at": 2, "meta": {"etag": "y", "lang": "de"}}
    assert _change(store, again, ignore=ignore) == "unchanged"
    assert _change(store, {**again, "meta": {"lang": "fr"}}, ignore=ignore) == "changed"


def check_a_change_that_fails_is_seen_again(place: Place) -> None:
    store = opened(place)
    for content, kind in (({"a": 1}, "new"), ({"a": 2}, "changed")):
        with store.lease(*ENTITY) as lease:
            # The stream's own row may be made before the block.
            with lease.changed("profile", content) as change:
                assert change.kind == kind
                before = effects(place) if kind == "changed" else None
            assert before is None or effects(place) == before
        with store.lease(*ENTITY) as lease:
            with raises(ZeroDivisionError):
                with lease.changed("profile", {"a": 9}) as change:
                    change.tx.execute("INSERT INTO effect (id) VALUES ('undone')")
                    raise ZeroDivisionError
            with lease.changed("profile", content) as change:
                assert change.kind == "unchanged"
    assert effects(place) == []


def check_nothing_to_write_where_nothing_changed(place: Place) -> None:
    store = opened(place)
    _change(store, {"a": 1})
    with store.lease(*ENTITY) as lease, lease.changed("profile", {"a": 1}) as change:
        assert not change
        with raises(UsageError, "if change"):
            _ = change.tx


def check_roles_at_the_same_time_process_once(place: Place) -> None:
    opened(place)

    def work(role: str) -> str:
        return _change(place.open(), {"a": 1}, role)

    kinds = together([partial(work, role) for role in "abcd"])
    assert sorted(map(str, kinds)) == ["new", "unchanged", "unchanged", "unchanged"]
    assert effects(place) == ["x"]


def check_documents_without_a_canonical_form_are_refused(place: Place) -> None:
    store = opened(place)
    circle: dict[str, Any] = {}
    circle["self"] = circle
    bad: list[Any] = [float("nan"), {"a": 2**53 + 1}, {1: "a"}, {"a": "\ud800"}, {"a": {1}}, circle]
    with store.lease(*ENTITY) as lease:
        for content in bad:
            with refused(place, UsageError):
                lease.changed("profile", content)


def check_seen_again_is_noted(place: Place) -> None:
    store = opened(place)
    for _ in range(4):
        _change(store, {"a": 1})
    counts = "SELECT changed, skipped, version FROM belaypin_checkpoint WHERE stream = 'profile'"
    assert place.query(counts) == [(1, 3, 1)]
