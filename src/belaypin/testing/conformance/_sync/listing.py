# Generated from src/belaypin/testing/conformance/_async/listing.py by tools/generate_sync.py; do not edit.
"""Listings: what they tell agrees with what the store tells of each key, and pages join up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from belaypin._sync.store import Store
from belaypin.errors import UsageError
from belaypin.records.listing import Listing, StreamRow
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import commit_all, mine, opened
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused, unchanged
from belaypin.testing.conformance.source import Source, event, events, minute


def _filled(place: Place) -> Store:
    """Two pipelines; in the first, entities a to f, whose heads lie further and further back."""
    store = opened(place, clock=FakeClock(minute(100)))
    for number, name in enumerate("abcdef"):
        with store.lease("shop", name) as lease:
            source = Source(events(3 + number))
            mine(place, lease, source, "posts", until=minute(60 - number))
            if number % 2:
                mine(place, lease, Source([]), "tags", since=minute(9), until=minute(20))
    with store.lease("shop", "c") as lease:
        mine(place, lease, Source([]), "posts", since=minute(70), until=minute(80))
    with store.lease("other", "z") as lease:
        mine(place, lease, Source([event("x")]), until=minute(1))
    return store


def _names(listing: Listing[Any]) -> list[str]:
    return [" ".join(row.key.parts[1:]) for row in listing]


def check_pipelines_are_named_in_order(place: Place) -> None:
    store = place.open()
    assert store.pipelines() == []
    store = _filled(place)
    assert store.pipelines() == ["other", "shop"]


def check_a_row_is_what_status_says(place: Place) -> None:
    store = _filled(place)
    entities = store.entities()
    assert _names(entities) == ["z", *"abcdef"]
    for entity in entities:
        status = store.status(entity.key)
        told = (status.status, status.items, status.gaps, status.lag, status.lag_key)
        assert (entity.status, entity.items, entity.gaps, entity.lag, entity.lag_key) == told
        assert entity.attempts == status.attempts
    for stream in store.streams():
        status = store.status(stream.key)
        assert (stream.status, stream.lag) == (status.status, status.lag)
        assert (stream.items, stream.gaps) == (status.items, status.gaps)
        covered = store.coverage(stream.key)
        assert (stream.covered_from, stream.head) == (covered[0].start, covered[0].end)


def check_pages_join_up_in_every_order(place: Place) -> None:
    store = _filled(place)
    for order in ("key", "lag", "updated"):
        options: dict[str, Any] = {"pipeline": "shop", "order": order}
        for listed in (store.entities, store.streams):
            whole = listed(**options)
            assert whole.next is None
            paged: list[Any] = []
            after = None
            while True:
                page = listed(**options, limit=2, after=after)
                paged += page
                after = page.next
                if after is None:
                    break
                assert len(page) == 2
            assert paged == list(whole)
    lags = [row.lag for row in store.streams(pipeline="shop", order="lag")]
    assert lags == sorted(lags, key=lambda lag: lag or timedelta(0), reverse=True)
    assert _names(store.entities(pipeline="shop", order="lag"))[:3] == ["b", "d", "f"]
    updates = [row.updated_at for row in store.streams(pipeline="shop", order="updated")]
    assert updates == sorted(updates, reverse=True)


def check_filters_pick_rows(place: Place) -> None:
    store = _filled(place)
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
        assert _names(store.streams(where)) == names, where
    assert _names(store.entities("gaps>0")) == ["c"]
    assert _names(store.entities("items<4", pipeline="shop")) == ["a"]
    assert _names(store.streams(pipeline="shop", entity="b")) == ["b posts", "b tags"]


def check_leases_are_listed_with_their_holders(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)
    for name in ("a", "b"):
        store.lease("shop", name, ttl_s=60 if name == "a" else 600).acquire()
    with store.lease("shop", "c"):
        pass
    clock.advance("2m")
    live, expired = store.leases("state:live"), store.leases("state:expired")
    assert (_names(live), _names(expired)) == (["b"], ["a"])
    assert [row.state for row in store.leases()] == ["expired", "live"]
    released = store.leases("state:released").rows
    assert [(row.key.entity, row.expires_at) for row in released] == [("c", None)]
    holder = live.rows[0]
    assert holder.pid
    assert holder.ttl == timedelta(minutes=10)
    assert holder.owner.startswith(f"{holder.host}/")
    assert _names(store.leases(f"owner:{holder.host}* role:main updated>1m")) == ["a", "b"]
    with raises(UsageError, "Leases have no field", "role"):
        store.leases("items>3")
    words = {row.key.entity: row.status for row in store.entities("owner:*")}
    assert words == {"a": "interrupted", "b": "working"}


def check_items_are_listed_and_searched(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(100)))
    key = ("shop", "a", "posts")
    ids = [f"post-{number}" for number in range(9)]
    with store.lease(*key[:2]) as lease:
        source = Source([event(item_id, number) for number, item_id in enumerate(ids)])
        for window in lease.windows(key[2], since=minute(0)):
            fetch = source.within(window)
            commit_all(place, window, fetch, revision="at", content=["body"])
    rows = store.items(key).rows
    assert sorted(row.item_id for row in rows) == ids
    assert all(row.fingerprint and row.revision for row in rows)
    paged: list[Any] = []
    after = None
    while True:
        page = store.items(key, limit=2, after=after)
        paged += page
        after = page.next
        if after is None:
            break
    assert tuple(paged) == rows
    assert [row.item_id for row in store.items(key, contains="t-7")] == ["post-7"]
    assert store.items(("shop", "nobody", "posts")).rows == ()


def check_gaps_are_listed_by_key_oldest_first(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(100)))
    for name in ("a", "b"):
        with store.lease("shop", name) as lease:
            for start in (40, 0, 20, 60):
                end = minute(start + 10)
                mine(place, lease, Source([]), since=minute(start), until=end)
    whole = store.gap_list()
    spans = [(row.key.entity, row.start, row.end) for row in whole]
    assert spans == [(n, minute(m), minute(m + 10)) for n in "ab" for m in (10, 30, 50)]
    assert all(row.duration == timedelta(minutes=10) for row in whole)
    paged: list[Any] = []
    after = None
    while True:
        page = store.gap_list(limit=2, after=after)
        paged += page
        after = page.next
        if after is None:
            break
    assert paged == list(whole)
    assert len(store.gap_list("entity:b")) == 3


def check_operations_are_listed(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)
    for number in range(3):
        with store.once(f"charge:{number}") as op:
            op.result = number
    with raises(ZeroDivisionError):
        with store.once("charge:7"):
            raise ZeroDivisionError
    whole = store.operations()
    assert [(row.id, row.status) for row in whole] == [
        *((f"charge:{number}", "done") for number in range(3)),
        ("charge:7", "failed"),
    ]
    first = store.operations(limit=3)
    rest = store.operations(limit=3, after=first.next)
    assert [*first, *rest] == list(whole)
    failed = store.operations(status="failed").rows
    assert [(row.id, row.attempts) for row in failed] == [("charge:7", 1)]
    assert "ZeroDivisionError" in str(failed[0].error)


def check_listings_write_nothing_and_refuse_what_is_none(place: Place) -> None:
    store = _filled(place)
    with unchanged(place):
        store.entities("state:open", order="lag")
        store.streams("x")
        store.gap_list()
        store.leases("state:released")
    page = store.streams(limit=1)
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
            store.streams(**options)
    with refused(place, UsageError, "stream"):
        store.entities("stream:posts")
    with refused(place, UsageError):
        store.operations(status="odd")  # type: ignore[arg-type]


def check_rows_are_counted_up_to_a_cap(place: Place) -> None:
    store = _filled(place)
    assert store.count("") == 10
    assert store.count("", "entities") == 7
    assert store.count("stream:tags", pipeline="shop") == 3
    assert store.count("state:live", "leases") == 0
    assert store.count("").is_exact
    capped = store.count("", cap=4)
    assert (capped, capped.is_exact, str(capped)) == (4, False, "4+")
    assert store.count("pipeline:a pipeline:b") == 0
    with raises(UsageError, "kind"):
        store.count("", "items")  # type: ignore[arg-type]


def check_storage_is_told_kind_by_kind(place: Place) -> None:
    store = _filled(place)
    store.save(("shop", "a"), {"pages": 3})
    whole = store.storage()
    kinds = {kind.kind: kind for kind in whole.kinds}
    health = store.health()
    assert kinds["keys"].rows == health.keys
    assert kinds["keys"].bytes == health.state_bytes > 0
    ledger = (kinds["ledger"].rows, kinds["ledger"].bytes, kinds["ledger"].raw_bytes)
    assert ledger == (health.segments, health.ledger_bytes, health.ledger_raw_bytes)
    assert kinds["coverage"].rows == 11
    assert whole.database_bytes > whole.bytes > 0
    part = store.storage(pipeline="other")
    assert {kind.kind: kind.rows for kind in part.kinds}["coverage"] == 1
    told = whole.as_dict()
    assert told["rows"] == whole.rows
    assert any(kind["ratio"] for kind in told["kinds"])


def check_what_the_database_keeps_for_listings_is_true(place: Place) -> None:
    """Whatever moves a coverage: windows, failures, rewinds, forks, newer code, an older one."""
    clock = FakeClock(minute(100))
    store = opened(place, clock=clock)
    key = ("shop", "a", "posts")

    def kept(entity: str = "a") -> tuple[Any, int]:
        (row,) = store.streams(pipeline="shop", entity=entity)
        covered = store.coverage(row.key)
        head = covered[0].end if covered else None
        assert (row.head, row.gaps) == (head, max(0, len(covered) - 1))
        assert row.lag == (None if head is None else clock.now - head)
        return row.head, row.gaps

    with store.lease(*key[:2]) as lease:
        for start, end in ((10, 20), (30, 40), (20, 25), (0, 5), (5, 10), (25, 30), (50, 60)):
            mine(place, lease, Source([]), since=minute(start), until=minute(end))
            kept()
    assert kept() == (minute(40), 1)
    store.savepoint(key[:2], "before")
    store.reopen(key, minute(15), minute(20))
    assert kept() == (minute(15), 2)
    store.fork(key[:2], ("shop", "b"))
    assert kept("b") == (minute(15), 2)
    store.reset(key)
    assert kept() == (None, 0)
    store.rewind(key[:2], to="before")
    assert kept() == (minute(40), 1)
    with store.lease(*key[:2]) as lease:
        later = [event(1, 62), event(2, 64)]
        for window in lease.windows("posts", since=minute(60), until=minute(70), at="at"):
            for page in window.pages(Source(later).within(window)):
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key="id"):
                        with tx.attempt(item):
                            raise ZeroDivisionError
    assert kept() == (minute(40), 3)
    store.skip(failure_id=store.failures("shop")[0].failure_id)
    assert kept() == (minute(40), 2)
    with store.lease(*key[:2]) as lease:
        mine(place, lease, Source([]), until=minute(3), processor=1)
    assert kept() == (minute(3), 0)
    store.gc()
    assert kept() == (minute(3), 0)
