"""Long reads in parts: the same figures, however they are cut, and writers that do not wait for them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin.program import PAUSE, Program, Statement
from belaypin.programs import parts
from belaypin.programs.health import at_rank
from belaypin.programs.scope import Name, Scope
from tests.upkeep.pipelines import healthy, mine

EVERYTHING = Scope.of(None, None)
SOCIAL = Scope.of("social", None)


@pytest.mark.parametrize("keys", [1, 2, 5])
def test_the_figures_do_not_depend_on_the_cut(
    clocked: belaypin.Store, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy(clocked)
    mine(clocked, "till:9", pipeline="shop")

    def figures() -> list[Any]:
        found: list[Any] = [clocked.status(p) for p in ("social", "shop", "nobody's")]
        for pipeline in (None, "social", "shop", "nobody's"):
            found += [clocked.health(pipeline=pipeline), clocked.storage(pipeline=pipeline)]
        return found

    whole = figures()
    monkeypatch.setattr(parts, "PART_KEYS", keys)
    assert figures() == whole


@pytest.mark.parametrize("keys", [1, 2, 3, 100])
def test_every_key_is_in_one_part_and_no_entity_in_two(
    store: belaypin.Store, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        *(("a", entity, stream) for entity in "xy" for stream in ("", "posts", "votes")),
        ("a", "\U0010ffff", "\U0010ffff"),
        ("b", "", ""),
        ("b", "x", "z"),
    ]
    for pipeline, entity, stream in names:
        store.save(belaypin.Key(pipeline, entity, stream), {})
    rows = store.execute("SELECT pipeline, entity, stream FROM belaypin_checkpoint").rows
    stored: set[Name] = {(row[0], row[1], row[2]) for row in rows}
    assert set(names) <= stored
    found: list[Scope] = []

    def read(part: Scope) -> Program[None]:
        found.append(part)
        yield Statement("clock.now")

    monkeypatch.setattr(parts, "PART_KEYS", keys)
    with store._backend.transaction(write=False) as transaction:
        transaction.run(parts.each_part(EVERYTHING, read))
    homes = {name: [p for p in found if p.first <= name <= p.last] for name in stored}
    assert all(len(home) == 1 for home in homes.values())
    entities = {name[:2] for name in stored}
    for whole in entities:
        assert len({tuple(homes[name]) for name in stored if name[:2] == whole}) == 1
    if keys == 1:
        assert len(found) == len(entities) + 2  # the last one of each pipeline is empty


def test_a_writer_waits_for_one_part_only(tmp_path: Path) -> None:
    """With the journal that rolls back, a reader keeps writers from committing until it pauses."""
    path = tmp_path / "store.db"

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as another:
            another.execute("PRAGMA journal_mode = TRUNCATE")
            another.execute("UPDATE belaypin_meta SET value = value")

    def reading() -> Program[int]:
        yield Statement("parts.cut", {**SOCIAL.params(), "keys": 9})
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write()
        yield PAUSE
        write()
        rows = yield Statement("health.keys", SOCIAL.params())
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write()
        return int(rows[0][0])

    with belaypin.open(f"sqlite:///{path}") as store:
        store.save("social", {})
        store.execute("PRAGMA journal_mode = TRUNCATE")
        with store._backend.transaction(write=False) as transaction:
            assert transaction.run(reading()) == 1
        write()


def test_no_transaction_stays_open_while_a_long_read_rests(postgres_url: str) -> None:
    """What it saw is let go of: PostgreSQL may clear away the rows that were replaced since."""

    def reading(store: belaypin.Store) -> Program[list[bool]]:
        seen = []
        for number in range(3):
            yield Statement("clock.now")
            store.save(("social", f"user:{number}"), {})
            before = {**SOCIAL.params(), "keys": max(number - 1, 0)}
            seen.append(bool((yield Statement("parts.cut", before))))
            yield PAUSE
        return seen

    with (
        belaypin.open(postgres_url) as store,
        store._backend.transaction(write=False) as transaction,
    ):
        assert transaction.run(reading(store)) == [False, True, True]


@pytest.mark.parametrize(("database", "times"), [("sqlite", 2.0), ("postgres", 1.25)])
def test_a_long_read_rests_longer_beside_a_writer(
    database: str, times: float, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{database}_url")

    def reading() -> Program[None]:
        for _ in range(30):
            time.sleep(0.005)
            yield PAUSE

    def taken_s(store: belaypin.Store) -> float:
        with store._backend.transaction(write=False) as transaction:
            began_s = time.monotonic()
            transaction.run(reading())
            return time.monotonic() - began_s

    done = threading.Event()

    def write() -> None:
        with belaypin.open(url) as store:
            while not done.is_set():
                store.save("social", {"at": time.monotonic()})

    with belaypin.open(url) as store:
        if database == "sqlite":
            store.execute("PRAGMA journal_mode = TRUNCATE")
        alone_s = min(taken_s(store) for _ in range(3))  # whatever else the machine does
        writer = threading.Thread(target=write)
        writer.start()
        try:
            beside_s = taken_s(store)
        finally:
            done.set()
            writer.join()
    assert beside_s > times * alone_s


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_a_cancelled_read_ends_at_the_next_pause(
    database: str, request: pytest.FixtureRequest
) -> None:
    loop, reads = asyncio.get_running_loop(), asyncio.Event()

    def reading() -> Program[None]:
        while True:
            yield PAUSE
            loop.call_soon_threadsafe(reads.set)

    async with await belaypin.aopen(request.getfixturevalue(f"{database}_url")) as store:
        for _ in range(10):
            reads.clear()
            task = asyncio.create_task(store._run(reading(), write=False))
            await reads.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 30)
        assert (await store.health()).keys == 0


def test_a_pause_commits_nothing_of_who_writes(store: belaypin.Store) -> None:
    def writing() -> Program[None]:
        yield Statement("clock.now")
        yield PAUSE

    def write_and_fail() -> None:
        with store._backend.transaction() as transaction:
            transaction.execute("UPDATE belaypin_meta SET value = 'x'")
            transaction.run(writing())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert store.execute("SELECT value FROM belaypin_meta").rows != [("x",)]


@given(st.lists(st.lists(st.integers(-50, 50), min_size=1), min_size=1), st.data())
def test_the_number_at_a_rank_of_sorted_runs(runs: list[list[int]], data: st.DataObject) -> None:
    together = sorted(number for run in runs for number in run)
    rank = data.draw(st.integers(0, len(together) - 1))
    assert at_rank([sorted(run) for run in runs], rank) == together[rank]
