# Generated from src/belaypin/testing/conformance/_async/ledger.py by tools/generate_sync.py; do not edit.
"""The ledger: every item once, however often, in whatever order and by whomever it is seen."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from belaypin._sync.commit import Commit
from belaypin._sync.store import Store
from belaypin.errors import UsageError
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, effects, mine, opened, together, write
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import Source, event, events, minute, one_page


def _numbers(count: int) -> list[str]:
    return sorted(str(number) for number in range(count))


def _commit(
    place: Place, store: Store, items: list[Any], role: str = "main", **fresh: Any
) -> list[Any]:
    """Commit one page of items in a window of its own; returns the fresh ones."""
    found: list[Any] = []
    with store.lease(*KEY[:2], role=role) as lease:
        for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
            for page in window.pages(one_page(items)):
                with page.commit() as tx:
                    found += tx.fresh(page.items, **{"key": "id", **fresh})
                    write(place, tx, found)
    return found


def check_a_rerun_doubles_nothing(place: Place) -> None:
    clock = FakeClock(minute(60))
    store, source = opened(place, clock=clock), Source(events(60), page_items=7)
    for _ in range(3):
        with store.lease(*KEY[:2]) as lease:
            mine(place, lease, source, overlap="1h")
        clock.advance("1m")
    assert effects(place) == _numbers(60)


def check_ties_at_the_edge_of_a_page_are_kept(place: Place) -> None:
    clock = FakeClock(minute(60))
    store = opened(place, clock=clock)
    # All at one moment, which is also where one window ends and the next begins.
    ties = [event(number, 60) for number in range(10)]
    with store.lease(*KEY[:2]) as lease:
        mine(place, lease, Source(events(5)), at="at")
        clock.advance("1m")
        mine(place, lease, Source([*events(5), *ties[:6]]), at="at")
        clock.advance("1m")
        mine(place, lease, Source([*events(5), *ties]), at="at")
    assert effects(place) == _numbers(10)


def check_pages_that_shift_between_fetches_lose_nothing(place: Place) -> None:
    clock = FakeClock(minute(60))
    store = opened(place, clock=clock)
    items = events(20)
    with store.lease(*KEY[:2]) as lease:
        for order in (items, items[::-1], items[7:] + items[:7], items * 2):
            mine(place, lease, Source(order, page_items=4), overlap="1h")
    assert effects(place) == _numbers(20)


def check_duplicates_in_a_page_count_once(place: Place) -> None:
    store = opened(place)
    first, second, last = event(1, body="first"), event(2), event(1, body="last")
    assert _commit(place, store, [first, second, last, second]) == [first, second]
    assert _commit(place, store, [last, second, event(3)]) == [event(3)]
    assert place.query("SELECT body FROM effect WHERE id = '1'") == [("first",)]


def check_fresh_keeps_the_order_of_the_input(place: Place) -> None:
    store = opened(place)
    order = [5, 3, 9, 1, 7]
    _commit(place, store, [event(3), event(4)])
    found = _commit(place, store, [event(number) for number in order])
    assert [item["id"] for item in found] == [5, 9, 1, 7]


def check_fresh_may_be_called_again_in_one_commit(place: Place) -> None:
    store = opened(place)
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since="beginning"):
            for page in window.pages(one_page(events(6))):
                with page.commit() as tx:
                    assert tx.fresh(page.items[:3], key="id") == events(3)
                    assert tx.fresh(page.items, key="id") == events(6)[3:]
                    assert tx.fresh(page.items, key="id") == []
                    assert tx.fresh([], key="id") == []
    assert store.seen(KEY, range(9)) == {*range(6)}


def check_a_number_and_its_text_are_two_items(place: Place) -> None:
    store = opened(place)
    mixed = [event(1), event("1"), event(-1), event("-1"), event("01"), event(" 1")]
    assert _commit(place, store, mixed) == mixed
    assert _commit(place, store, mixed) == []
    assert store.seen(KEY, [1, "1", 2, "2", -1, "01"]) == {1, "1", -1, "01"}


def check_ids_of_every_kind(place: Place) -> None:
    store = opened(place)
    ids: list[Any] = [
        0,
        -(2**63),
        2**63 - 1,
        UUID(int=7),
        ("a", 1),
        ("a", "1"),
        ("a,1",),
        "a",
        "A",
        "a ",
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "e\N{COMBINING ACUTE ACCENT}",
        "\N{PILE OF POO}",
        "x" * 1024,
        "%s ? :id {} '",
        "'); DROP TABLE effect; --",
        "\x01\x7f\n",
    ]
    items = [event(item_id) for item_id in ids]
    assert _commit(place, store, items) == items
    assert _commit(place, store, items) == []
    assert store.seen(KEY, [*ids, "b", 7]) == {*ids}
    assert len(effects(place)) == len(ids)


def check_ids_are_read_by_path_or_callable(place: Place) -> None:
    store = opened(place)
    items = [{"id": n, "body": "", "user": {"id": n % 3}} for n in range(6)]
    assert _commit(place, store, items, key="user.id") == items[:3]
    assert _commit(place, store, items, key=lambda item: f"n{item['id']}") == items
    assert store.seen(KEY, [0, 1, 2, 3, "n3"]) == {0, 1, 2, "n3"}


def check_roles_share_the_ledger(place: Place) -> None:
    store = opened(place)
    assert _commit(place, store, events(5), role="live") == events(5)
    assert _commit(place, store, events(8), role="backfill") == events(8)[5:]
    with store.lease(*KEY[:2], role="a") as a, store.lease(*KEY[:2], role="b") as b:
        for lease, first in ((a, 8), (b, 10), (a, 12), (b, 8)):
            source = Source(events(6, first))
            for window in lease.windows(KEY[2], since="beginning", overlap="1h"):
                for page in window.pages(source.fetch):
                    with page.commit() as tx:
                        write(place, tx, tx.fresh(page.items, key="id"))
    assert effects(place) == _numbers(18)


def check_workers_at_the_same_time_double_nothing(place: Place) -> None:
    store, source = opened(place, clock=FakeClock(minute(60))), Source(events(60))

    def work(role: str) -> int:
        other = place.open(clock=FakeClock(minute(60)))
        with other.lease(*KEY[:2], role=role) as lease:
            return len(mine(place, lease, source))

    done = together([partial(work, role) for role in "abcd"])
    assert effects(place) == _numbers(60)
    assert sum(n for n in done if isinstance(n, int)) == 60, done
    assert store.seen(KEY, range(100)) == {*range(60)}


def check_streams_have_ledgers_of_their_own(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(60)))
    for entity in ("user:7", "user:8"):
        with store.lease(KEY[0], entity) as lease:
            for stream in ("posts", "comments"):
                assert len(mine(place, lease, Source(events(3)), stream)) == 3
    assert len(effects(place)) == 12


def check_a_key_names_an_item_outside(place: Place) -> None:
    store, seen = opened(place), []

    def keys(tx: Commit, items: list[Any]) -> list[str]:
        return [tx.idempotency_key(item) for item in tx.fresh(items, key="id")]

    items = [event(1), event("1"), event(("a", "b"))]
    for attempt in range(2):
        with store.lease(*KEY[:2]) as lease:
            for window in lease.windows(KEY[2], since="beginning"):
                for page in window.pages(one_page(items)):
                    with raises(ZeroDivisionError):
                        with page.commit() as tx:
                            seen.append(keys(tx, page.items))
                            raise ZeroDivisionError
                    if attempt:
                        with raises(UsageError, "fresh"):
                            tx.idempotency_key(event(1))
                    break
    assert seen[0] == seen[1]
    assert len({*seen[0]}) == 3
    assert all(key.isascii() and 0 < len(key) <= 64 for key in seen[0])


def check_many_small_commits(place: Place) -> None:
    """So many that segments are merged, and merged again by another worker."""
    store = opened(place, clock=FakeClock(minute(600)))
    source = Source(events(80), page_items=1)
    for _ in range(2):
        with store.lease(*KEY[:2]) as lease:
            mine(place, lease, source, overlap="600m")
    assert effects(place) == _numbers(80)
    segments = place.query("SELECT count(*) FROM belaypin_segment")[0][0]
    assert segments < 40, "nothing was merged"
    assert store.seen(KEY, range(-5, 85)) == {*range(80)}


def check_a_small_memory_doubles_nothing(place: Place) -> None:
    """More ids than may be kept in memory, spread so that each page needs all of them."""
    store = opened(place, clock=FakeClock(minute(600)), ledger_items=20)
    spread = [event(f"{number * 7919 % 997:03d}", number) for number in range(90)]
    for page_items in (10, 9, 30):
        with store.lease(*KEY[:2]) as lease:
            mine(place, lease, Source(spread, page_items), overlap="600m")
    assert effects(place) == sorted(item["id"] for item in spread)


@needs("stores")
def check_seen_knows_what_is_committed_and_no_more(place: Place) -> None:
    store, other = opened(place), place.open()
    assert other.seen(KEY, [1, "a"]) == set()
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since="beginning"):
            for page in window.pages(one_page(events(3))):
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")
                    assert other.seen(KEY, range(5)) == set()
    assert other.seen(KEY, range(5)) == {0, 1, 2}
    assert other.seen(KEY, []) == set()
