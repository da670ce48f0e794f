"""compact: small segments become full ones, and every answer stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import CompactReport, CorruptRecord, StoreBusy, segments
from belaypin.programs import compaction, ledger
from belaypin.programs.compaction import Listed
from belaypin.times import MIN_US
from tests.capabilities.sites import FixedClock, Site
from tests.capabilities.test_horizon import KEY, at, item, mine

Item = tuple[Any, str]


async def listened(store: Any, pages: list[list[dict[str, Any]]], entity: str = KEY[1]) -> None:
    async with (
        store.lease(KEY[0], entity, role="live", ttl_s="20d") as lease,
        lease.live(KEY[2], at="at") as live,
    ):
        for page in pages:
            async with live.batch(page).commit() as tx:
                await tx.fresh(page, key="id")


def pages_of(count: int, *, size: int = 4) -> list[list[dict[str, Any]]]:
    return [[item(f"n{n:05}-{i}", n / 10) for i in range(size)] for n in range(count)]


async def segments_of(site: Site) -> list[tuple[Any, ...]]:
    return await site.query("SELECT seq, items FROM belaypin_segment ORDER BY key_id, seq")


async def test_many_small_segments_become_one(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    pages = pages_of(50)
    await listened(store, pages)
    ids = [each["id"] for page in pages for each in page]
    dry = await store.compact(dry_run=True)
    assert (dry.streams, dry.taken, dry.made) == (1, 50, 1)
    assert len(await segments_of(site)) == 50
    report = await store.compact(KEY)
    assert (report.streams, report.taken, report.made) == (1, 50, 1)
    assert report.bytes_before == dry.bytes_before > 2 * report.bytes_after > 0
    ((seq, items),) = await segments_of(site)
    assert (seq > 50, items) == (True, 200)
    assert await store.seen(KEY, [*ids, "other"]) == set(ids)
    assert (await store.verify()).findings == ()
    assert (await store.compact()).taken == 0
    await listened(store, [*pages, *pages_of(51)[50:]])
    assert (await store.load(KEY)).items == 204


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
async def test_every_stream_of_every_pipeline_has_its_turn(site: Site, at_once: int) -> None:
    store = await site.open(clock=FixedClock())
    for pipeline, entities in (("a", "xy"), ("b", "x"), ("c", "xyz")):
        for entity in entities:
            async with store.lease(pipeline, entity) as lease, lease.live("posts", at="at") as live:
                for page in pages_of(3):
                    async with live.batch(page).commit() as tx:
                        await tx.fresh(page, key="id")
    with patch.object(compaction, "_STREAMS_AT_ONCE", at_once):
        assert (await store.compact("b", dry_run=True)).streams == 1
        report = await store.compact()
    assert (report.streams, report.taken, report.made) == (6, 18, 6)


async def test_live_workers_learn_of_it(site: Site) -> None:
    """What a worker knows of the segments that are gone stays true, and no number is used twice."""
    store = await site.open(clock=FixedClock())
    pages = pages_of(30)
    async with (
        store.lease(*KEY[:2], role="live", ttl_s="20d") as lease,
        lease.live(KEY[2], at="at") as live,
    ):
        used: set[int] = set()
        for number, page in enumerate(pages):
            async with live.batch(page).commit() as tx:
                assert len(await tx.fresh(page, key="id")) == 4
            before = {seq for seq, _ in await segments_of(site)}
            if number % 3 == 0:
                await store.compact()
                new = {seq for seq, _ in await segments_of(site)} - before
                assert not new & used
            used |= before
            known = [each for page in pages[: number + 1] for each in page]
            async with live.batch(known).commit() as tx:
                assert await tx.fresh(known, key="id") == []
    assert (await store.verify()).findings == ()


async def test_only_the_streams_that_are_asked_for(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    for entity in ("user:7", "user:70", "user:8"):
        await listened(store, pages_of(5), entity)
    assert (await store.compact(("shop", "user:7"))).streams == 1
    assert (await store.compact("other")).streams == 0
    told: list[CompactReport] = []
    assert (await store.compact("shop", on_progress=told.append)).streams == 2
    assert [report.taken for report in told] == [5, 10]


@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["memory", "postgres"])
async def test_what_will_be_dropped_is_not_packed_with_what_stays(
    site: Site, colour: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FAN_OUT", 1000)
    clock = FixedClock()
    store = await site.open(clock=clock)
    for day in range(64):
        clock.us = int(at(day).timestamp() * 1e6)
        await mine(store, [item(f"n{day}", day - 0.1)], horizon="32d")
    await store.gc()
    report = await store.compact()
    assert 10 < report.made < 33  # the horizon's length in sixteenths, or a little less each
    assert (await store.compact()).taken == 0
    rows = await site.query("SELECT items FROM belaypin_segment")
    assert sum(row[0] for row in rows) < 40
    await mine(store, [], horizon="32d")
    for day in range(64, 74):
        clock.us = int(at(day).timestamp() * 1e6)
        await mine(store, [item(f"n{day}", day - 0.1)], horizon="32d")
    dropped = await store.gc()
    assert dropped.of("segments").rows >= 3


async def test_a_damaged_segment_is_named_and_left(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    await listened(store, pages_of(5))
    damaged = "'\\xff'::bytea" if site.url.startswith("postgresql") else "x'ff'"
    await site.query(f"UPDATE belaypin_segment SET payload = {damaged} WHERE seq = 3")
    with pytest.raises(CorruptRecord, match="segment 3"):
        await store.compact()
    assert len(await segments_of(site)) == 5


async def test_shrink_gives_free_pages_back(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    await store.execute("CREATE TABLE filler (x TEXT)")
    for _ in range(30):
        await store.execute(f"INSERT INTO filler VALUES ('{'x' * 100_000}')")
    await store.execute("DROP TABLE filler")
    report = await store.compact(shrink=True)
    if site.url.startswith("postgresql"):
        assert (report.file_before, report.file_after) == (None, None)
        return
    assert report.file_before > 3_000_000 > 10 * report.file_after
    assert "the file had" in str(report)
    await listened(store, pages_of(2))


def test_shrink_needs_the_file_for_itself(tmp_path: Path) -> None:
    import sqlite3

    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    with belaypin.open(f"sqlite:///{tmp_path}/app.db") as store:
        store._backend._busy_timeout_s = 0.1  # type: ignore[attr-defined]
        store._backend._discard(store._backend._idle.pop())  # type: ignore[attr-defined]
        other.execute("BEGIN")
        other.execute("SELECT * FROM belaypin_meta").fetchall()
        with pytest.raises(StoreBusy):
            store.compact(shrink=True)
        other.execute("COMMIT")
        assert store.compact(shrink=True).file_before
    other.close()


# --- groups ---------------------------------------------------------------------------------------


def listed(seq: int, items: int, newest_us: int | None = None, kind: bytes = b"s") -> Listed:
    return Listed(seq, 0, items, kind, newest_us, 10)


@pytest.mark.parametrize(("given_", "horizon_us", "expected"), [
    ([listed(1, 5)], MIN_US, []),
    ([listed(1, 5), listed(2, 5), listed(3, 99_999), listed(4, 5), listed(5, 5)], MIN_US,
     [[1, 2], [4, 5]]),
    ([listed(1, 16_000) for _ in range(3)] + [listed(9, 16_000)] * 2, MIN_US, [[1, 1, 1, 9]]),
    ([listed(1, 5), listed(2, 5, kind=b"i"), listed(3, 5), listed(4, 5, kind=b"i")], MIN_US,
     [[2, 4], [1, 3]]),
    ([listed(1, 5, None), listed(2, 5, 7), listed(3, 5, 9), listed(4, 5, None)], MIN_US, [[2, 3]]),
    ([listed(n, 5, n * 32) for n in range(1, 33)], 0, [[n, n + 1] for n in range(2, 31, 2)]),
    ([listed(n, 5, n) for n in range(1, 9)], 5, []),
])  # fmt: skip
def test_groups(given_: list[Listed], horizon_us: int, expected: list[list[int]]) -> None:
    found = [[each.seq for each in group] for group in compaction.groups(given_, horizon_us)]
    assert found == expected


# --- the same answers -----------------------------------------------------------------------------

numbers = st.integers(0, 25)
commits = st.lists(
    st.lists(st.tuples(st.one_of(numbers, numbers.map(str)), st.sampled_from("xyz")), max_size=6),
    max_size=25,
)


@given(
    commits=commits,
    more=commits,
    compares=st.sampled_from(["always", "never", "sometimes"]),
    full=st.sampled_from([2, 3, 5, 100]),
    block=st.sampled_from([6, 12, 65_536]),
)
def test_seen_and_fresh_answer_as_before(
    commits: list[list[Item]], more: list[list[Item]], compares: str, full: int, block: int
) -> None:
    with (
        patch.object(ledger, "_FULL_ITEMS", full),
        patch.object(segments, "BLOCK_ITEMS", block),
        patch.object(ledger, "FAN_OUT", 5),
        belaypin.open("sqlite:///:memory:", clock=FixedClock()) as store,
    ):
        model: dict[tuple[type, Any], str | None] = {}
        with store.lease(*KEY[:2], ttl_s="20d") as old:
            commit_all(old, commits, model, compares)
            store.compact()
            with store.lease(*KEY[:2], role="new", ttl_s="20d") as new:
                commit_all(new, more, model, compares)
            store.compact()
            commit_all(old, [*commits, *more], model, compares)
        everything = [*range(26), *map(str, range(26))]
        assert {(type(i), i) for i in store.seen(KEY, everything)} == model.keys()
        assert store.verify().findings == ()


def commit_all(
    lease: Any, commits: list[list[Item]], model: dict[tuple[type, Any], str | None], compares: str
) -> None:
    with lease.live(KEY[2], at=lambda _: at(0)) as live:
        for number, page in enumerate(commits):
            is_compared = compares == "always" or (compares == "sometimes" and number % 2 == 1)
            wanted: dict[tuple[type, Any], Item] = {}
            for one in page:
                name = (type(one[0]), one[0])
                if is_compared or name not in wanted:
                    wanted[name] = one
            expected = [
                one
                for name, one in wanted.items()
                if name not in model or (is_compared and model[name] != one[1])
            ]
            content = (lambda one: one[1]) if is_compared else None
            with live.batch(page).commit() as tx:
                assert tx.fresh(page, key=lambda one: one[0], content=content) == expected
            for one in expected:
                model[type(one[0]), one[0]] = one[1] if is_compared else None
