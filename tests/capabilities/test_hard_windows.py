"""Windows where it is hard: late items, ties at a page's edge, clocks that are wrong, sources that lag."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from tests.capabilities.fewer import colour, database, pair  # noqa: F401 -- fixtures
from tests.capabilities.sites import START, FixedClock, Site

HOUR_S, DAY_S = 3_600, 86_400
KEY = ("shop", "site:1", "posts")


class Post(NamedTuple):
    """``at`` is what the source stamps it with, ``shown`` when it can be fetched; hours from START."""

    id: int
    at: float
    shown: float


def when(hours: float) -> datetime:
    return START + timedelta(hours=hours)


class Source:
    """Lists by (time, id), a few at a time, what is shown by now; its clock may be wrong."""

    def __init__(self, posts: list[Post], page_size: int = 2) -> None:
        self.posts = posts
        self.page_size = page_size
        self.hours = 0.0

    def fetch(self, window: Any, cursor: Any) -> tuple[list[dict[str, Any]], Any]:
        shown = sorted((p.at, p.id) for p in self.posts if p.shown <= self.hours)
        place = tuple(cursor) if cursor else (float("-inf"), -1)
        found = [p for p in shown if window.start <= when(p[0]) < window.end and p > place]
        page = found[: self.page_size]
        items = [{"id": post_id, "at": when(at).isoformat()} for at, post_id in page]
        return items, list(page[-1]) if len(found) > len(page) else None


async def run(store: Any, source: Source, *, pages: int | None = None, **options: Any) -> list[int]:
    """Process what is missing; ``pages``: the worker dies before it commits more of them."""
    taken: list[int] = []
    options = {"since": START - timedelta(days=400), "at": "at", **options}
    async with store.lease("shop", "site:1") as lease:
        async for window in lease.windows("posts", **options):
            async for page in window.pages(lambda cursor, w=window: source.fetch(w, cursor)):
                if pages == 0:
                    return taken
                pages = None if pages is None else pages - 1
                async with page.commit() as tx:
                    taken += [item["id"] for item in await tx.fresh(page.items, key="id")]
    return taken


class World:
    """A store, a source, and the true time; the database's clock may be ahead or behind."""

    def __init__(self, store: Any, clock: FixedClock, source: Source, skew_h: float = 0) -> None:
        self.store, self.source = store, source
        self._clock, self._skew_h = clock, skew_h
        self.at(0)

    def at(self, hours: float) -> World:
        self.source.hours = hours
        self._clock.us = int((START.timestamp() + (hours + self._skew_h) * HOUR_S) * 1_000_000)
        return self

    async def run(self, **options: Any) -> list[int]:
        return await run(self.store, self.source, **options)


async def world(site: Site, posts: list[Post], *, skew_h: float = 0, page_size: int = 2) -> World:
    clock = FixedClock()
    store = await site.open(clock=clock)
    return World(store, clock, Source(posts, page_size), skew_h)


# --- late items -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("late_h", "overlap"), [(2, "3h"), (20, "1d"), (24 * 6, "1w"), (24 * 90, "95d")]
)
async def test_an_item_as_late_as_the_overlap_is_processed_and_counted(
    site: Site, late_h: float, overlap: str
) -> None:
    # The article keeps max(seen) with an overlap of an hour: what is later is lost.
    begin = late_h + 10
    posts = [Post(1, 1, 1), Post(2, begin - 1, begin - 1), Post(3, begin - late_h, begin + 1)]
    here = await world(site, posts)
    assert await here.at(begin).run(overlap=overlap) == [1, 2]
    assert await here.at(begin + 2).run(overlap=overlap) == [3]
    assert await here.at(begin + 3).run(overlap=overlap) == []
    assert (await here.store.load(KEY)).late == 1


async def test_an_item_later_than_the_overlap_comes_in_by_a_gap(site: Site) -> None:
    posts = [Post(1, 1, 1), Post(2, 2_000, 2_000), Post(3, 500, 2_001)]
    here = await world(site, posts)
    assert await here.at(2_000.5).run(overlap="1h") == [1, 2]
    assert await here.at(2_002).run(overlap="1h") == []  # 3 lies 62 days back: not asked for
    (covered,) = await here.store.coverage(KEY)
    await open_gap(site, when(400), when(600))
    assert await here.store.gaps(KEY) == [belaypin.Interval(when(400), when(600))]
    assert await here.at(2_002).run(overlap="1h") == [3]
    assert await here.store.coverage(KEY) == [covered]


async def open_gap(site: Site, start: datetime, end: datetime) -> None:
    """As a re-opened range of time: what was committed in it stays committed."""
    start_us, end_us = (int(edge.timestamp()) * 1_000_000 for edge in (start, end))
    await site.query(
        "INSERT INTO belaypin_coverage (key_id, generation, start_us, end_us) "
        "SELECT key_id, generation, ?, end_us FROM belaypin_coverage",
        (end_us,),
    )
    await site.query(
        "UPDATE belaypin_coverage SET end_us = ? WHERE start_us < ?", (start_us, end_us)
    )


async def test_an_item_that_is_late_for_a_gap_is_seen_by_the_next_overlap(site: Site) -> None:
    posts = [Post(1, 1, 1), Post(2, 9, 9), Post(3, 20, 20), Post(4, 8, 30)]
    here = await world(site, posts)
    assert await here.at(25).run(overlap="2h") == [1, 2, 3]
    await open_gap(site, when(7), when(10))
    assert await here.at(26).run(overlap="2h") == []  # the gap is read before 4 is shown
    await open_gap(site, when(9), when(10))
    assert await here.at(31).run(overlap="2h") == [4]  # a gap reads what lies before it too


# --- ties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [1, 2, 3])
@pytest.mark.parametrize("dies_after", [None, 1, 2])
async def test_equal_times_across_a_pages_edge(
    site: Site, page_size: int, dies_after: int | None
) -> None:
    posts = [Post(n, 5, 5) for n in range(7)]
    here = await world(site, posts, page_size=page_size)
    taken = await here.at(6).run(pages=dies_after)
    taken += await here.at(6).run()
    assert sorted(taken) == [*range(7)]


async def test_a_tie_that_is_shown_behind_the_cursor_is_not_lost(site: Site) -> None:
    posts = [Post(2, 5, 5), Post(4, 5, 5), Post(6, 5, 5), Post(1, 5, 7), Post(3, 5, 7)]
    here = await world(site, posts, page_size=1)
    taken = await here.at(6).run(pages=2)
    assert taken == [2, 4]
    taken += await here.at(8).run()  # goes on behind 4, while 1 and 3 have the same time
    taken += await here.at(8).run()
    assert sorted(taken) == [1, 2, 3, 4, 6]


# --- clocks and lag -------------------------------------------------------------------------------


@pytest.mark.parametrize("skew_h", [-24 * 365, -30, -1, 1, 30, 24 * 365])
async def test_no_wrong_clock_of_the_workers_side_hides_an_item(site: Site, skew_h: float) -> None:
    # The article ends its window at the worker's clock: what the source shows later is hidden.
    here = await world(site, [Post(n, n, n) for n in range(0, 60, 3)], skew_h=skew_h)
    options = {"since": START - timedelta(days=1_000)}
    taken: list[int] = []
    for hours in (10, 20, 20, 45, 70):
        taken += await here.at(hours).run(**options)
    if skew_h < 0:  # it comes in once the clock has reached it: never wrong, only later
        taken += await here.at(70 - skew_h).run(**options)
    assert sorted(taken) == [*range(0, 60, 3)]


async def test_a_clock_that_jumps_a_year_ahead_and_back_hides_nothing(site: Site) -> None:
    here = await world(site, [Post(n, n, n) for n in range(40)])
    taken = await here.at(10).run()
    here._clock.us += 365 * DAY_S * 1_000_000
    taken += await here.run()
    for hours in (11, 20, 41):
        taken += await here.at(hours).run()
    assert sorted(taken) == [*range(40)]


@pytest.mark.parametrize("skew_h", [-3.0, 3.0])
async def test_a_source_whose_clock_is_wrong_loses_nothing(site: Site, skew_h: float) -> None:
    here = await world(site, [Post(n, n + skew_h, n) for n in range(0, 30, 2)])
    taken: list[int] = []
    for hours in (5, 6, 15, 29, 40):
        taken += await here.at(hours).run()
    assert sorted(taken) == [*range(0, 30, 2)]


@pytest.mark.parametrize("lag_h", [0.5, 7, 24 * 40])
async def test_a_source_that_lags_loses_nothing_without_any_overlap(
    site: Site, lag_h: float
) -> None:
    here = await world(site, [Post(n, n, n + lag_h) for n in range(0, 30, 2)])
    taken: list[int] = []
    for hours in (1, 5, lag_h + 3, lag_h + 4, lag_h + 15, lag_h + 31):
        taken += await here.at(hours).run()
    assert taken == [*range(0, 30, 2)]


async def test_settle_leaves_what_is_young_to_a_later_run(site: Site) -> None:
    here = await world(site, [Post(1, 1, 1), Post(2, 4.5, 4.5), Post(3, 4.2, 5.1)])
    assert await here.at(5).run(settle="1h") == [1]
    assert await here.at(6).run(settle="1h") == [3, 2]


# --- all at once ----------------------------------------------------------------------------------

OVERLAP_H = 4

POSTS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, OVERLAP_H)), min_size=3, max_size=9
).map(lambda drawn: [Post(n, at, at + delay) for n, (at, delay) in enumerate(drawn)])


class Run(NamedTuple):
    """A run so many hours after the one before; ``pages``: it dies after so many."""

    after_h: int
    pages: int | None
    settle_h: int


RUNS = st.lists(
    st.builds(Run, st.integers(0, 4), st.none() | st.integers(0, 3), st.integers(0, 1)),
    min_size=4,
    max_size=10,
)


@given(POSTS, RUNS, st.sampled_from([0, 2, 48, -3]), st.integers(-2, 2), st.integers(1, 3))
async def test_every_item_once_if_none_is_later_than_the_overlap(
    posts: list[Post], runs: list[Run], worker_skew_h: int, source_skew_h: int, page_size: int
) -> None:
    """Delays up to the overlap, ties, both clocks wrong, and deaths at any page."""
    stamped = [post._replace(at=post.at + source_skew_h) for post in posts]
    clock = FixedClock()
    async with await belaypin.aopen("sqlite:///:memory:", clock=clock) as store:
        here = World(store, clock, Source(stamped, page_size), worker_skew_h)
        taken: list[int] = []
        hours, overlap = 0, timedelta(hours=OVERLAP_H)
        for each in runs:
            hours += each.after_h
            settle = timedelta(hours=each.settle_h)
            taken += await here.at(hours).run(pages=each.pages, overlap=overlap, settle=settle)
        for later in (200, 201, 300):
            taken += await here.at(hours + later).run(overlap=overlap)
        assert sorted(taken) == sorted(post.id for post in posts)
        assert (await store.verify()).ok
