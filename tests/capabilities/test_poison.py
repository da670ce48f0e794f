"""Items that kill their worker: found by isolation and quarantined, in real processes."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import belaypin
from belaypin.testing import FakeClock
from tests.capabilities import poison

DEATHS_PER_ITEM = poison.RETRY.max_kills + (poison.RETRY.isolate_after or 0)
LIMIT = len(poison.POISON) * DEATHS_PER_ITEM


def deaths_until_done(url: str, how: str, where: str) -> int:
    """How many workers died before one came through."""
    command = [sys.executable, poison.__file__, url, how, where, str(LIMIT + 1)]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return int(ran.stdout)


@pytest.mark.parametrize(
    ("database", "how", "where"),
    [
        ("file", "exit", "before"),
        ("file", "kill", "inside"),
        ("file", "segfault", "volatile"),
        ("file", "kill", "retry"),
        ("postgres", "kill", "inside"),
    ],
)
def test_items_that_kill_are_found_and_the_rest_is_processed(
    database: str, how: str, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres_url")
    deaths = deaths_until_done(url, how, where)
    assert len(poison.POISON) <= deaths <= LIMIT
    with belaypin.open(url) as store:
        effects = [n for (n,) in store.execute("SELECT id FROM effect ORDER BY id")]
        assert effects == [n for n in range(poison.ITEMS) if n not in poison.POISON]
        found = store.failures(*poison.KEY)
        payloads = [store.failure(f.failure_id) for f in found]
        assert sorted(f.payload["id"] for f in payloads if f) == [*poison.POISON]
        assert {f.status for f in found} == {"quarantined"}
        assert all(
            f.error.startswith(f"Killed: {poison.RETRY.max_kills} workers died") for f in found
        )
        if where != "before":
            assert sorted(f.item_id for f in found if f.item_id is not None) == [*poison.POISON]
        assert len(store.gaps(poison.KEY)) >= len(poison.POISON) - 1  # 0 is at the very start
        assert store.verify().ok
        assert deaths_until_done(url, how, where) == 0
        assert [n for (n,) in store.execute("SELECT id FROM effect ORDER BY id")] == effects


class Died(BaseException):
    """The worker stops here, as if its process were killed."""


def dying_worker(
    store: belaypin.Store, clock: FakeClock, killers: set[int], per_page: int, where: str
) -> bool:
    """Whether one more worker comes through; if not, it never releases its lease."""
    nonce = clock.now_us()

    def fetch(cursor: int | None) -> tuple[list[dict[str, int]], int | None]:
        first = cursor or 0
        numbers = range(first, min(first + per_page, poison.ITEMS))
        volatile = {"nonce": nonce} if where == "volatile" else {}
        return (
            [{"id": n, **volatile} for n in numbers],
            first + per_page if numbers.stop < poison.ITEMS else None,
        )

    lease = store.lease(*poison.KEY[:2])
    lease.acquire()
    assert lease._beat is not None
    store._heartbeat.remove(lease._beat)
    try:
        poison.other_window(lease)
        for window in lease.windows(poison.KEY[2], since=poison.START):
            for page in window.pages(fetch):
                if where == "before" and killers & {i["id"] for i in page.items}:
                    raise Died
                with page.commit() as tx:
                    for item in tx.fresh(page.items, key="id"):
                        tx.execute("INSERT INTO effect VALUES (?)", (item["id"],))
                        if item["id"] in killers:
                            raise Died
    except Died:
        clock.advance(timedelta(minutes=1))
        return False
    lease.release()
    return True


@settings(max_examples=25)
@given(
    killers=st.sets(st.integers(0, poison.ITEMS - 1), max_size=4),
    per_page=st.integers(1, 6),
    where=st.sampled_from(["before", "inside", "volatile"]),
)
def test_any_items_that_kill_are_found_in_few_deaths(
    killers: set[int], per_page: int, where: str
) -> None:
    clock = FakeClock(poison.START + timedelta(days=1))
    with belaypin.open("sqlite:///:memory:", clock=clock) as store:
        store.execute("CREATE TABLE effect (id INTEGER)")
        deaths = 0
        while not dying_worker(store, clock, killers, per_page, where):
            deaths += 1
            assert deaths <= len(killers) * DEATHS_PER_ITEM
        effects = store.execute("SELECT id FROM effect ORDER BY id").rows
        assert [n for (n,) in effects] == sorted({*range(poison.ITEMS)} - killers)
        found = [store.failure(f.failure_id) for f in store.failures()]
        assert sorted(f.payload["id"] for f in found if f) == sorted(killers)
        assert store.verify().ok
        assert store.execute("SELECT COUNT(*) FROM belaypin_suspect").rows == [(0,)]


def test_an_undisturbed_worker_writes_nothing_down(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with belaypin.open(url) as store:
        for _ in range(3):
            with store.lease(*poison.KEY[:2]) as lease:
                poison.other_window(lease)
                assert lease._fence().deaths == 0
        assert store.execute("SELECT COUNT(*) FROM belaypin_suspect").rows == [(0,)]


@pytest.mark.parametrize("per_page", [1, 3])
def test_who_dies_in_fetch_accuses_no_item(per_page: int) -> None:
    """Pages in which nothing is new are not written down, and the next fetch may take long.

    What was handed out last is innocent then, however many die while they wait for the source.
    """
    clock = FakeClock(poison.START + timedelta(days=1))
    with belaypin.open("sqlite:///:memory:", clock=clock) as store:
        store.execute("CREATE TABLE effect (id INTEGER)")
        assert dying_worker(store, clock, set(), per_page, "inside")
        for number in range(12):
            clock.advance(timedelta(minutes=1))
            dies_in_fetch(store, clock, per_page, 1 + number % 3)
        clock.advance(timedelta(minutes=1))
        assert dying_worker(store, clock, set(), per_page, "inside")
        assert store.failures() == []
        assert store.execute("SELECT COUNT(*) FROM effect").rows == [(poison.ITEMS,)]


def dies_in_fetch(store: belaypin.Store, clock: FakeClock, per_page: int, pages: int) -> None:
    """One more worker reads some pages again, finds nothing new, and dies in the fetch of the next."""
    asked = 0

    def fetch(cursor: int | None) -> tuple[list[dict[str, int]], int | None]:
        nonlocal asked
        asked += 1
        if asked > pages:
            raise Died
        first = cursor or 0
        return [{"id": first + n} for n in range(per_page)], first + per_page

    lease = store.lease(*poison.KEY[:2])
    lease.acquire()
    assert lease._beat is not None
    store._heartbeat.remove(lease._beat)
    try:
        for window in lease.windows(poison.KEY[2], since=poison.START, overlap="365d"):
            for page in window.pages(fetch):
                with page.commit() as tx:
                    assert tx.fresh(page.items, key="id") == []
    except Died:
        return
    raise AssertionError("it should have died")
