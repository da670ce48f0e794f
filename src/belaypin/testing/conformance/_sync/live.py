# Generated from src/belaypin/testing/conformance/_async/live.py by tools/generate_sync.py; do not edit.
"""Live events: they cover the time while somebody listened; a break is a gap to be fetched."""

from __future__ import annotations

from belaypin.errors import NotCommitted, UsageError
from belaypin.records.checkpoints import Interval
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._sync.loop import KEY, effects, hear, mine, opened, spans, write
from belaypin.testing.conformance._sync.place import Place
from belaypin.testing.conformance.expect import raises, refused
from belaypin.testing.conformance.source import Item, Source, event, events, minute


def _span(start: float, end: float) -> Interval:
    return Interval(minute(start), minute(end))


def check_listening_covers_from_connecting_to_the_last_commit(place: Place) -> None:
    clock = FakeClock(minute(10))
    store = opened(place, clock=clock)
    with store.lease(*KEY[:2]) as lease:
        with lease.live(KEY[2], at="at") as live:
            clock.advance("5m")
            assert hear(place, live, event(1, 12), event(2, 14)) == [1, 2]
            assert store.coverage(KEY) == [_span(10, 15)]
            clock.advance("5m")
            live.heartbeat()
            clock.advance("5m")
        assert store.coverage(KEY) == [_span(10, 20)]
    assert effects(place) == ["1", "2"]


def check_an_event_comes_once(place: Place) -> None:
    store = opened(place, clock=FakeClock(minute(10)))
    with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        assert hear(place, live, event(1), event(1), event(2)) == [1, 2]
        assert hear(place, live, event(2), event(3)) == [3]
    assert effects(place) == ["1", "2", "3"]


def check_a_break_leaves_a_gap_that_windows_fetch(place: Place) -> None:
    clock, source = FakeClock(minute(0)), Source(events(40))
    store = opened(place, clock=clock)
    with store.lease(*KEY[:2], role="live") as lease:
        for first in (0, 20):
            clock.set(minute(first))
            with lease.live(KEY[2], at="at") as live:
                clock.advance("10m")
                hear(place, live, *source.items[first : first + 10])
    assert store.gaps(KEY) == [_span(10, 20)]
    with store.lease(*KEY[:2], role="backfill") as lease:
        assert spans(lease, since=minute(0), until=minute(30)) == [(10, 20)]
        assert mine(place, lease, source, until=minute(30)) == [*range(10, 20)]
    assert store.coverage(KEY) == [_span(0, 30)]
    assert effects(place) == sorted(map(str, range(30)))


def check_live_and_backfill_meet(place: Place) -> None:
    clock, source = FakeClock(minute(30)), Source(events(60))
    store, other = opened(place, clock=clock), place.open(clock=clock)
    with (
        store.lease(*KEY[:2], role="live") as lease,
        other.lease(*KEY[:2], role="backfill") as backfill,
        lease.live(KEY[2], at="at") as live,
    ):
        for window in backfill.windows(KEY[2], since=minute(0)):
            for page in window.pages(source.within(window)):
                heard = int((clock.now - minute(0)).total_seconds() // 60)
                clock.advance("1m")
                hear(place, live, source.items[heard])
                with page.commit() as tx:
                    write(place, tx, tx.fresh(page.items, key="id"))
        # Some of what was heard live comes again by the window that overlaps it.
        mine(place, backfill, source, overlap="30m")
    assert effects(place) == sorted(map(str, range(40)))
    assert store.coverage(KEY) == [_span(0, 40)]


def check_events_that_were_not_committed_are_not_covered(place: Place) -> None:
    clock = FakeClock(minute(0))
    store, source = opened(place, clock=clock), Source(events(60))
    with store.lease(*KEY[:2]) as lease:
        with lease.live(KEY[2], at="at") as live:
            clock.advance("10m")
            hear(place, live, *source.items[:10])
            clock.advance("10m")
            with raises(ZeroDivisionError):
                with live.batch(source.items[10:20]).commit() as tx:
                    write(place, tx, tx.fresh(source.items[10:20], key="id"))
                    raise ZeroDivisionError
            clock.advance("10m")
            # Whether listening goes on or has to begin anew: the lost events stay a gap.
            try:
                hear(place, live, *source.items[20:30])
            except NotCommitted:
                pass
        lost = [e for e in store.coverage(KEY) if e.start <= minute(15) < e.end]
        assert lost == [], "covered, but not processed"
        mine(place, lease, source, until=minute(30))
    assert effects(place) == sorted(map(str, range(30)))


def check_events_that_were_forgotten_are_not_covered(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)
    with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        clock.advance("10m")
        live.batch([event("forgotten", 5)])
        try:
            live.heartbeat()
        except NotCommitted:
            pass
        assert [e for e in store.coverage(KEY) if e.start <= minute(5) < e.end] == []


def check_batches_are_committed_one_by_one(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)

    def heard() -> list[list[Item]]:
        clock.advance("1m")
        return [events(2), [], events(3, 2)]

    with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        for batch in live.batches(heard()):
            with batch.commit() as tx:
                write(place, tx, tx.fresh(batch.items, key="id"))
        with refused(place, NotCommitted, "commit"):
            for batch in live.batches([events(1, 9)]):
                assert batch.items
        batch = live.batch(events(1, 7))
        with batch.commit() as tx:
            tx.fresh(batch.items, key="id")
        with refused(place, NotCommitted):
            batch.commit()
    assert effects(place) == ["0", "1", "2", "3", "4"]


def check_settle_leaves_what_may_still_come(place: Place) -> None:
    clock = FakeClock(minute(0))
    store = opened(place, clock=clock)
    with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at", settle="2m") as live:
        clock.advance("1m")
        hear(place, live, event(1, 0.5))
        assert store.coverage(KEY) == []
        clock.advance("9m")
        live.heartbeat()
    assert store.coverage(KEY) == [_span(0, 8)]


def check_listening_keeps_an_open_window(place: Place) -> None:
    clock, source = FakeClock(minute(30)), Source(events(30))
    store = opened(place, clock=clock)
    with store.lease(*KEY[:2]) as lease:
        for window in lease.windows(KEY[2], since=minute(0)):
            for page in window.pages(source.within(window)):
                with page.commit() as tx:
                    write(place, tx, tx.fresh(page.items, key="id"))
                break
        with lease.live(KEY[2], at="at") as live:
            clock.advance("1m")
            hear(place, live, event("live", 30))
        for window in lease.windows(KEY[2], since=minute(0)):
            assert (window.resumed, window.cursor) == (True, 3)
            break
        mine(place, lease, source)
    assert effects(place) == sorted([*map(str, range(30)), "live"])


def check_listening_needs_its_block(place: Place) -> None:
    store = opened(place)
    with store.lease(*KEY[:2]) as lease:
        live = lease.live(KEY[2], at="at")
        with refused(place, UsageError, "with"):
            live.batch([event(1)]).commit()
        with live:
            pass
        with refused(place, UsageError, "with"):
            live.heartbeat()


def check_an_event_without_its_time_is_refused(place: Place) -> None:
    store = opened(place)
    with store.lease(*KEY[:2]) as lease, lease.live(KEY[2], at="at") as live:
        live.heartbeat()
        for bad in ({"id": 1}, {"id": 1, "at": "2024-01-01T00:00:00"}, {"id": 1, "at": 5}):
            with refused(place, UsageError, "at"):
                with live.batch([bad]).commit() as tx:
                    tx.fresh([bad], key="id")
