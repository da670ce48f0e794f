"""explain: why an item or a document was processed or skipped, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

import belaypin
from tests.upkeep.conftest import FakeClock
from tests.upkeep.pipelines import change, mine, one

pytestmark = pytest.mark.usefixtures("small_fan_out")

Store = belaypin.Store
POSTS = ("social", "user:7", "posts")
PROFILE = ("social", "user:7", "profile")


def test_an_item_that_was_never_committed(store: Store) -> None:
    for committed in (False, True):
        if committed:
            mine(store)
        found = store.explain(POSTS, "unheard-of")
        assert (found.verdict, found.reason, found.is_committed) == ("process", "new", False)
        assert found.placed is None
        assert "never committed" in str(found)


def test_a_committed_item_is_found_in_its_segment(clocked: Store, clock: FakeClock) -> None:
    mine(clocked, pages=2, stop_after=1)
    first_us = clock.us
    clock.pass_s(60)
    mine(clocked, pages=2)
    found = clocked.explain(POSTS, "post-7")
    assert (found.verdict, found.reason, found.is_committed) == ("skip", "unchanged", True)
    assert found.generation == 1
    assert found.placed is not None
    placed = found.placed
    assert (placed.seq, placed.level, placed.items, placed.fingerprint) == (2, 0, 5, None)
    assert placed.committed_at.timestamp() == clock.us / 1e6
    assert placed.token == one(clocked, "SELECT token FROM belaypin_segment WHERE seq = 2")
    assert "segment 2 (level 0" in str(found)
    earlier = clocked.explain(POSTS, "post-0").placed
    assert earlier is not None
    assert earlier.committed_at.timestamp() == first_us / 1e6


def test_of_a_merged_segment_the_time_is_the_latest_possible(store: Store) -> None:
    mine(store, pages=30)
    for serial in range(150):
        found = store.explain(POSTS, f"post-{serial}")
        assert found.verdict == "skip"
        assert found.placed is not None
        assert ("or before" in str(found)) == (found.placed.level > 0)


def test_numbers_and_text_are_different_items(store: Store) -> None:
    mine(store, numbers=True)
    assert store.explain(POSTS, 7).is_committed
    assert not store.explain(POSTS, "7").is_committed
    named = UUID(int=7)
    with store.lease("social", "user:8") as lease:
        for window in lease.windows("posts", since="30d"):
            for page in window.pages(lambda cursor: ([{"id": named}, {"id": (1, "a")}], None)):
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")
    other = ("social", "user:8", "posts")
    assert store.explain(other, named).is_committed
    assert store.explain(other, (1, "a")).is_committed


def test_the_newest_fingerprint_counts(url: str, call: Callable[..., Any]) -> None:
    prints = []
    for edition in ("first", "second", "first"):
        with belaypin.open(url) as store:
            mine(store, pages=1, edition=edition)
        found = call(url, "explain", POSTS, "post-1")
        prints.append(found.placed.fingerprint)
        assert found.placed.fingerprint in str(found)
    assert prints[0] == prints[2] != prints[1]


def test_an_item_of_an_earlier_generation_is_processed_again(store: Store) -> None:
    mine(store)
    change(store, "UPDATE belaypin_checkpoint SET generation = 2 WHERE stream = 'posts'")
    found = store.explain(POSTS, "post-1")
    assert (found.verdict, found.reason, found.is_committed) == ("process", "rewound", False)
    assert found.placed is not None
    assert (found.placed.generation, found.generation) == (1, 2)
    assert "rewound" in str(found)


def test_a_document(url: str, call: Callable[..., Any]) -> None:
    assert call(url, "explain", PROFILE).reason == "new"
    documents = [{"name": "Ada", "at": 1}, {"name": "Ada", "at": 2}, {"name": "Eve", "at": 3}]
    with belaypin.open(url) as store:
        for document in documents:
            with (
                store.lease("social", "user:7") as lease,
                lease.changed("profile", document, ignore=["at"]) as found,
            ):
                if found:
                    found.tx.execute("SELECT 1")
    told = call(url, "explain", PROFILE)
    assert (told.verdict, told.version, told.is_committed) == ("skip", 2, True)
    assert told.content_hash == belaypin.fingerprint(documents[2], ignore=["at"])
    assert told.first_seen_at <= told.last_seen_at
    assert told.content_hash in str(told)
    same = call(url, "explain", PROFILE, content={"name": "Eve", "at": 9}, ignore=["at"])
    assert (same.verdict, same.reason) == ("skip", "unchanged")
    other = call(url, "explain", PROFILE, content=documents[0], ignore=["at"])
    assert (other.verdict, other.reason) == ("process", "changed")
    assert other.given_hash in str(other)
    assert json.loads(json.dumps(other.as_dict()))["text"] == str(other)


def test_what_can_not_be_explained(store: Store) -> None:
    mine(store)
    with pytest.raises(belaypin.UsageError):
        store.explain(POSTS, 1.5)
    with pytest.raises(belaypin.UsageError):
        store.explain(POSTS, "post-1", content={})
    change(store, "UPDATE belaypin_segment SET payload = low")
    with pytest.raises(belaypin.CorruptRecord):
        store.explain(POSTS, "post-1")
