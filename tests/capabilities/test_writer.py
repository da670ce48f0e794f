"""The writer: many saves in few commits, in their order, none lost and none twice."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import belaypin
from belaypin import Schema, SchemaTooNew, StoreBusy, StoreClosed, StoreUnavailable, UsageError
from belaypin.backends.sqlite import SqliteBackend
from belaypin.catalog import Catalog
from belaypin.program import Statement
from tests.capabilities.sites import Site

KEY = ("shop", "user:7")
NEWER = Schema(2, {0: lambda data: data, 1: lambda data: data})
BOTH = pytest.mark.parametrize("durability", ["sync", "async"])


def key_of(number: int) -> tuple[str, str]:
    return ("shop", f"user:{number}")


async def states(store: Any, count: int) -> list[Any]:
    found = [await store.load(key_of(n), schema=NEWER) for n in range(count)]
    return [checkpoint and checkpoint.state for checkpoint in found]


# --- what the article lost ------------------------------------------------------------------------


@BOTH
async def test_the_101st_is_not_dropped(site: Site, durability: str) -> None:
    """`TryDequeue && count < 100` saved 248 of 250."""
    store = await site.open()
    async with store.writer(durability=durability, max_items=100, timeout_s=9) as writer:
        if site.colour == "async":
            await asyncio.gather(*[writer.save(key_of(n), n) for n in range(250)])
        else:
            in_threads(250, lambda n: writer._thing.save(key_of(n), n))
    rows = await site.query(
        "SELECT count(*), min(version), max(version) FROM belaypin_checkpoint WHERE pipeline = 'shop'"
    )
    assert rows == [(250, 1, 1)]
    assert await states(store, 5) == list(range(5))
    report = writer.report
    assert (report.saved, report.failed, report.pending) == (250, 0, 0)
    assert report.longest_delay_s < 10


@BOTH
@pytest.mark.parametrize("database", ["memory"])
async def test_what_is_saved_is_the_state_at_the_call(site: Site, durability: str) -> None:
    """A captured reference would save what the object became."""
    store = await site.open()
    async with store.writer(durability=durability) as writer:
        state = {"pages": [1]}
        saving = writer.save(KEY, state)
        state["pages"].append(2)
        await saving
        state["pages"].append(3)
    assert (await store.load(KEY)).state == {"pages": [1]}


async def test_sync_returns_when_it_is_durable(site: Site) -> None:
    """An acknowledgement of what is only queued is no acknowledgement."""
    store = await site.open()
    async with store.writer() as writer:
        for number in range(5):
            assert await writer.save(KEY, {"n": number}) == number + 1
            assert (await store.load(KEY)).state == {"n": number}
        assert str(writer.bound) == "a crash loses no save that has returned"


async def test_async_returns_at_once_and_bounds_the_loss(site: Site) -> None:
    store = await site.open()
    async with store.writer(durability="async", max_items=50, max_delay_s=60) as writer:
        for number in range(20):
            assert await writer.save(KEY, number) is None
        assert await store.load(KEY) is None
        assert writer.report.pending == 20
        assert (writer.bound.items, writer.bound.delay_s) == (50, 60)
        assert "at most 50 saves" in str(writer.bound)
        report = await writer.flush()
        assert (report.saved, report.batches, report.pending) == (20, 1, 0)
        assert (await store.load(KEY)).version == 20
        for number in range(200):  # more than the bound: nobody has to flush
            await writer.save(KEY, number)
            assert writer.report.pending <= 50
    assert (await store.load(KEY)).state == 199


@pytest.mark.parametrize("database", ["file"])
async def test_async_saves_within_its_delay(site: Site) -> None:
    store = await site.open()
    async with store.writer(durability="async", max_delay_s=0.2) as writer:
        await writer.save(KEY, 1)
        deadline_s = time.monotonic() + 5
        while writer.report.pending:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.01)
        assert writer.report.longest_delay_s < 2
        assert (await store.load(KEY)).state == 1


@BOTH
async def test_every_save_has_its_version_in_its_order(site: Site, durability: str) -> None:
    store = await site.open()
    async with store.writer(durability=durability) as writer:
        saving = [writer.save(key_of(n % 3), n) for n in range(30)]
        versions = [await each for each in saving]
    if durability == "sync":
        assert versions == [n // 3 + 1 for n in range(30)]
    assert await states(store, 3) == [27, 28, 29]
    assert (await store.load(key_of(2))).version == 10


# --- many callers ---------------------------------------------------------------------------------


async def test_callers_share_commits(site: Site) -> None:
    store = await site.open()
    if site.colour == "async":
        writer = store.writer(max_delay_s=0.1)
        await asyncio.gather(*[writer.save(key_of(n), n) for n in range(40)])
    else:
        writer = store.writer(max_delay_s=0.1)
        in_threads(40, lambda n: writer._thing.save(key_of(n), n))
    report = await close(writer, site)
    assert report.saved == 40
    assert report.batches <= 5
    assert await states(store, 40) == list(range(40))


async def close(thing: Any, site: Site) -> Any:
    return await (thing.aclose() if site.colour == "async" else thing.close())


def in_threads(count: int, work: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(min(count, 40)) as threads:
        list(threads.map(work, range(count)))


@BOTH
@pytest.mark.parametrize("colour", ["sync"])
async def test_threads_beside_the_stores_own_work(site: Site, durability: str) -> None:
    store = (await site.open())._thing
    writer = store.writer(durability=durability, max_items=20)

    def work(thread: int) -> None:
        for number in range(10):
            writer.save(("shop", f"user:{thread}"), number)
            if number % 5 == 0:
                store.save(("shop", "shared"), number)

    in_threads(6, work)
    assert writer.close().saved == 60
    assert [store.load(("shop", f"user:{n}")).state for n in range(6)] == [9] * 6
    assert [store.load(("shop", f"user:{n}")).version for n in range(6)] == [10] * 6
    assert store.load(("shop", "shared")).version == 12


@pytest.mark.parametrize("colour", ["async"])
async def test_the_event_loop_is_not_blocked(site: Site) -> None:
    store = await site.open()
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    beating = asyncio.create_task(beat())
    async with store.writer(max_delay_s=0.5) as writer:
        await writer.save(KEY, 1)
    beating.cancel()
    assert beats > 10


# --- what is refused ------------------------------------------------------------------------------


async def test_sync_one_that_is_refused_fails_alone(site: Site) -> None:
    store = await site.open()
    await store.save(key_of(3), "newer", schema=NEWER)
    async with store.writer(max_delay_s=0.1) as writer:
        if site.colour == "async":
            saving = [writer.save(key_of(n), n) for n in range(8)]
            outcomes = await asyncio.gather(*saving, return_exceptions=True)
        else:
            outcomes = [None] * 8

            def work(number: int) -> None:
                try:
                    outcomes[number] = writer._thing.save(key_of(number), number)
                except SchemaTooNew as error:
                    outcomes[number] = error

            in_threads(8, work)
    assert isinstance(outcomes.pop(3), SchemaTooNew)
    assert outcomes == [1] * 7
    assert await states(store, 8) == [0, 1, 2, "newer", 4, 5, 6, 7]
    assert (writer.report.saved, writer.report.failed) == (7, 1)


async def test_async_one_that_is_refused_is_told_later(site: Site) -> None:
    store = await site.open()
    await store.save(key_of(3), "newer", schema=NEWER)
    writer = store.writer(durability="async", max_delay_s=60)
    for number in range(8):
        await writer.save(key_of(number), number)
    with pytest.raises(SchemaTooNew) as caught:
        await writer.flush()
    assert "user:3" in caught.value.__notes__[0]
    assert await states(store, 8) == [0, 1, 2, "newer", 4, 5, 6, 7]
    report = await close(writer, site)  # it was told once
    assert (report.saved, report.failed) == (7, 1)
    assert [failure.key for failure in report.failures] == [belaypin.Key(*key_of(3))]
    assert "SchemaTooNew" in str(report)


async def test_what_the_database_itself_refuses_is_found_by_halving(site: Site) -> None:
    store = await site.open()
    await refuse_in_the_database(site, store, "user:3")
    writer = store.writer(durability="async", max_delay_s=60)
    for number in range(8):
        await writer.save(key_of(number), number)
    with pytest.raises(belaypin.SqlError, match="not this one"):
        await writer.flush()
    found = await states(store, 8)
    assert found == [0, 1, 2, None, 4, 5, 6, 7]
    await close(writer, site)


async def refuse_in_the_database(site: Site, store: Any, entity: str) -> None:
    await store.save(("shop", entity), None)
    if site.url.startswith("postgresql"):
        await store.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'not this one'; END $$"
        )
        await store.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON belaypin_checkpoint FOR EACH ROW "
            f"WHEN (NEW.entity = '{entity}') EXECUTE FUNCTION refuse()"
        )
    else:
        await store.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON belaypin_checkpoint "
            f"WHEN NEW.entity = '{entity}' BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )


@pytest.mark.parametrize("database", ["memory"])
async def test_states_and_keys_are_checked_by_the_call(site: Site) -> None:
    store = await site.open()
    async with store.writer() as writer:
        for key, state in ((KEY, {"when": object()}), ("", {}), (KEY, float("nan"))):
            with pytest.raises(UsageError):
                await writer.save(key, state)
    assert writer.report.saved == 0


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "maybe"},
        {"max_items": 0},
        {"max_items": True},
        {"max_delay_s": -1},
        {"durability": "async", "max_delay_s": 0},
    ],
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with belaypin.open("sqlite:///:memory:") as store, pytest.raises(UsageError):
        store.writer(**options)


async def test_it_would_wait_for_itself_inside_a_block(site: Site) -> None:
    store = await site.open()
    writer, later = store.writer(), store.writer(durability="async")
    async with store.lease(*KEY) as lease, lease.changed("profile", 1) as change:
        await change.tx.execute("SELECT 1")
        with pytest.raises(UsageError, match="for ever"):
            await writer.save(KEY, 1)
        await later.save(KEY, 2)
        with pytest.raises(UsageError, match="for ever"):
            await later.flush()
    assert (await close(later, site)).saved == 1
    assert (await store.load(KEY)).state == 2


# --- ends -----------------------------------------------------------------------------------------


async def test_it_is_drained_by_the_end_of_the_block_also_after_an_error(site: Site) -> None:
    store = await site.open()
    writer = store.writer(durability="async", max_delay_s=60)
    with pytest.raises(ZeroDivisionError):
        await save_and_fail(writer)
    assert (await store.load(KEY)).state == 1
    with pytest.raises(StoreClosed):
        await writer.save(KEY, 2)
    assert (await close(writer, site)).saved == 1


async def save_and_fail(writer: Any) -> None:
    async with writer:
        await writer.save(KEY, 1)
        raise ZeroDivisionError


@pytest.mark.parametrize("database", ["file", "postgres"])
async def test_closing_the_store_drains_its_writers(site: Site) -> None:
    store = await site.open()
    writers = [store.writer(durability="async", max_delay_s=60) for _ in range(3)]
    for number, writer in enumerate(writers):
        await writer.save(key_of(number), number)
    await close(store, site)
    assert await states(await site.open(), 3) == [0, 1, 2]


def test_a_forked_child_refuses(tmp_path: Path) -> None:
    store = belaypin.open(f"sqlite:///{tmp_path}/store.db")
    with store.writer(durability="async", max_delay_s=60) as writer:
        writer.save(KEY, 1)
        if (child := os.fork()) == 0:
            try:
                writer.save(KEY, 2)
            except StoreClosed:
                writer.close()
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert writer.report.saved == 1
    found = store.load(KEY)
    assert found is not None
    assert found.version == 1
    store.close()


# --- a database that is away ----------------------------------------------------------------------


@dataclass
class Weather:
    """Fails transactions of the writers' threads: at their beginning or around their COMMIT."""

    failures: list[str]

    @contextmanager
    def transaction(self, original: Any, backend: Any, *, write: bool = True) -> Iterator[Any]:
        is_writer = threading.current_thread().name == "belaypin-writer"
        kind = self.failures.pop(0) if is_writer and write and self.failures else None
        if kind == "away":
            raise StoreUnavailable("the database is away")
        if kind == "busy":
            raise StoreBusy("the database is busy")
        with original(backend, write=write) as opened:
            yield opened
            if kind == "undone":
                raise StoreUnavailable("the COMMIT was not received")
        if kind == "unanswered":
            raise StoreUnavailable("the COMMIT was not answered")


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Weather:
    from belaypin.backends._sync.postgres import PostgresBackend

    weather = Weather([])
    for kind in (SqliteBackend, PostgresBackend):
        original = kind.transaction

        def stormy(backend: Any, *, write: bool = True, original: Any = original) -> Any:
            return weather.transaction(original, backend, write=write)

        monkeypatch.setattr(kind, "transaction", stormy)
    return weather


@BOTH
async def test_a_batch_that_failed_is_saved_once(
    site: Site, weather: Weather, durability: str
) -> None:
    store = await site.open()
    for number, kind in enumerate(["away", "busy", "undone", "unanswered"]):
        weather.failures += [kind] * (1 if kind == "unanswered" else 3)
        keys = [("shop", f"user:{number}", stream) for stream in ("orders", "visits")]
        async with store.writer(durability=durability) as writer:
            for state in range(4):
                await writer.save(keys[state % 2], state)
        assert not weather.failures
        found = [await store.load(key) for key in keys]
        assert [(each.version, each.state) for each in found] == [(2, 2), (2, 3)], kind
        assert writer.report.saved == 4
        assert writer.report.retried == (0 if kind == "unanswered" else 3)


@pytest.mark.parametrize("database", ["postgres"])  # where an answer can be lost on its way
async def test_unanswered_while_others_save_the_same_key(
    site: Site, weather: Weather, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server knows what became of the batch, though its version stands there no more."""
    store = await site.open()
    original = Catalog.bind

    def bind(catalog: Catalog, statement: Statement) -> Any:
        if statement.name == "transaction.outcome":
            with site.user() as user:
                user.execute("UPDATE belaypin_checkpoint SET version = version + 1, state = NULL")
                user.commit()
        return original(catalog, statement)

    weather.failures.append("unanswered")
    monkeypatch.setattr(Catalog, "bind", bind)
    async with store.writer() as writer:
        assert await writer.save(KEY, 1) == 1
    assert (await store.load(KEY)).version == 2


@pytest.mark.parametrize("database", ["file", "postgres"])
async def test_a_full_line_holds_its_callers_back(site: Site, weather: Weather) -> None:
    store = await site.open()
    weather.failures += ["away"] * 100
    writer = store.writer(durability="async", max_items=5, max_delay_s=60, timeout_s=0.5)
    for number in range(5):
        await writer.save(KEY, number)
    with pytest.raises(StoreBusy, match="was not saved"):
        await writer.save(KEY, "too many")
    with pytest.raises(StoreUnavailable, match="They are kept"):
        await writer.flush()
    assert writer.report.pending == 5
    weather.failures.clear()
    await writer.flush()
    assert (await store.load(KEY)).state == 4
    assert (await store.load(KEY)).version == 5
    assert (await close(writer, site)).pending == 0


@pytest.mark.parametrize("database", ["file"])
async def test_nothing_is_acknowledged_beyond_the_delay(site: Site, weather: Weather) -> None:
    """While the database is away, what could be lost does not grow older without an end."""
    store = await site.open()
    weather.failures += ["away"] * 100
    writer = store.writer(durability="async", max_items=1000, max_delay_s=0.2, timeout_s=0.5)
    began_s = time.monotonic()
    acknowledged = 0
    try:
        while time.monotonic() - began_s < 5:
            await writer.save(KEY, acknowledged)
            acknowledged += 1
            await asyncio.sleep(0.01)
    except StoreBusy:
        pass
    assert 0 < acknowledged < 100
    weather.failures.clear()
    assert (await close(writer, site)).saved == acknowledged
    assert (await store.load(KEY)).state == acknowledged - 1


@pytest.mark.parametrize("database", ["memory", "postgres"])
async def test_closing_while_the_database_is_away_names_what_is_lost(
    site: Site, weather: Weather
) -> None:
    store = await site.open()
    weather.failures += ["away"] * 100
    writer = store.writer(durability="async", timeout_s=0.2)
    await writer.save(KEY, 1)
    with pytest.raises(StoreUnavailable, match=r"1 states .* shop / user:7"):
        await close(writer, site)
    assert writer.report.pending == 1


@pytest.mark.parametrize("database", ["memory", "postgres"])
async def test_sync_a_save_that_timed_out_is_not_saved_later(site: Site, weather: Weather) -> None:
    store = await site.open()
    weather.failures += ["away"] * 100
    writer = store.writer(timeout_s=0.5)
    with pytest.raises(StoreBusy):
        await writer.save(KEY, "old")
    weather.failures.clear()
    assert await writer.save(KEY, "new") == 1
    assert (await close(writer, site)).saved == 1


@pytest.mark.parametrize(("colour", "database"), [("async", "memory"), ("async", "postgres")])
async def test_a_save_that_is_cancelled_in_line_is_not_saved(site: Site, weather: Weather) -> None:
    store = await site.open()
    weather.failures += ["away"] * 100
    async with store.writer() as writer:
        saving = asyncio.ensure_future(writer.save(KEY, "cancelled"))
        await asyncio.sleep(0)  # it is in line since the call; now somebody waits for it
        await tried_in_vain(writer)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await comes_true(lambda: not writer.report.pending)  # an attempt under way may succeed
        weather.failures.clear()
        assert await writer.save(KEY, "wanted") == 1
    assert (await store.load(KEY)).state == "wanted"


async def tried_in_vain(writer: Any) -> None:
    await comes_true(lambda: writer.report.retried > 0)


async def comes_true(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 9
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(("colour", "database"), [("sync", "file"), ("sync", "postgres")])
async def test_two_writers_of_the_same_keys_do_not_deadlock(site: Site) -> None:
    stores = [(await site.open())._thing for _ in range(2)]
    writers = [store.writer(durability="async", max_items=30) for store in stores]

    def work(number: int) -> None:
        keys = list(range(30))[:: 1 if number else -1]
        for _ in range(3):
            for key in keys:
                writers[number].save(key_of(key), number)

    in_threads(2, work)
    reports = [writer.close() for writer in writers]
    assert [(report.saved, report.retried) for report in reports] == [(90, 0)] * 2
    rows = await site.query("SELECT sum(version) FROM belaypin_checkpoint WHERE pipeline = 'shop'")
    assert int(rows[0][0]) == 180


async def test_an_older_state_never_lands_over_a_newer_one(site: Site, weather: Weather) -> None:
    """A batch that failed is not queued again behind what came meanwhile."""
    store = await site.open()
    weather.failures += ["away"] * 100
    async with store.writer(durability="async", max_delay_s=0.1) as writer:
        await writer.save(KEY, "old")
        await writer.save(key_of(0), 0)
        await tried_in_vain(writer)
        await writer.save(KEY, "new")
        weather.failures.clear()
    found = await store.load(KEY)
    assert (found.version, found.state) == (2, "new")


# --- a model --------------------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(0, 3), st.integers(0, 99)),
        st.tuples(st.just("newer"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("flush"), st.just(0), st.just(0)),
        st.tuples(
            st.sampled_from(["away", "busy", "undone", "unanswered"]), st.just(0), st.just(0)
        ),
    ),
    max_size=40,
)


@BOTH
@pytest.mark.parametrize(("colour", "database"), [("sync", "memory")])
@given(steps=STEPS, items=st.integers(1, 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_against_a_dict(
    weather: Weather, colour: str, database: str, durability: Any, steps: Any, items: int
) -> None:
    weather.failures.clear()
    model: dict[int, tuple[int, Any]] = {}
    newer: set[int] = set()
    with belaypin.open("sqlite:///:memory:") as store:
        writer = store.writer(durability=durability, max_items=items, max_delay_s=0.01)
        for step, number, state in steps:
            if step == "save":
                version = model.get(number, (0, None))[0] + 1
                try:
                    assert writer.save(key_of(number), state) in (version, None)
                except SchemaTooNew:
                    assert number in newer
                if number not in newer:
                    model[number] = version, state
            elif step == "newer":
                told(writer.flush)
                version = store.save(key_of(number), "newer", schema=NEWER)
                newer.add(number)
                model[number] = version, "newer"
            elif step == "flush":
                told(writer.flush)
                assert seen(store, model) == model
            else:
                weather.failures.append(step)
        weather.failures.clear()
        told(writer.close)
        assert writer.report.pending == 0
        assert seen(store, model) == model


def told(call: Callable[[], Any]) -> None:
    try:
        call()
    except SchemaTooNew:
        pass


def seen(store: belaypin.Store, model: dict[int, Any]) -> dict[int, tuple[int, Any]]:
    found = {n: store.load(key_of(n), schema=NEWER) for n in model}
    return {n: (each.version, each.state) for n, each in found.items() if each is not None}
