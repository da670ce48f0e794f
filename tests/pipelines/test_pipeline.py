"""A pipeline as its user sees it: what its functions are given, and what a run makes of them."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import belaypin
from belaypin.pipeline import Progress, Stop, load, running
from belaypin.pipeline.feed import Feed
from tests.pipelines.conftest import Place

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
Item = dict[str, Any]


def items(site: str, count: int = 25) -> list[Item]:
    times = [EPOCH + timedelta(minutes=n) for n in range(count)]
    return [{"id": f"{site}-{n}", "n": n, "at": at.isoformat()} for n, at in enumerate(times)]


def page(found: list[Item], cursor: Any, size: int = 10) -> tuple[list[Item], Any]:
    start = cursor or 0
    return found[start : start + size], start + size if start + size < len(found) else None


def orders(place: Place, sites: tuple[str, ...] = ("a", "b", "c")) -> belaypin.Pipeline:
    """A pipeline with one stream of 25 orders a site."""
    pipeline = belaypin.Pipeline("shop", store=place.url, retry=quick())
    pipeline.setup(make_tables)
    pipeline.entities(lambda: sites)

    @pipeline.source("orders", since=EPOCH, until=EPOCH + DAY, at="at")
    def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        return page(items(site), cursor)

    @pipeline.item("orders")
    def insert(tx: belaypin.Work, order: Item, entity: str) -> None:
        tx.execute(place.sql("INSERT INTO orders VALUES (?, ?)"), (order["id"], entity))

    return pipeline


def make_tables(store: belaypin.Store) -> None:
    store.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, site TEXT)")


def quick(attempts: int = 2) -> belaypin.Retry:
    return belaypin.Retry(backoff="1ms", max_attempts=attempts, jitter=0)


COUNT = "SELECT count(*), count(DISTINCT id) FROM orders"


@pytest.mark.parametrize("engine", ["serial", "threads:3"])
def test_all_is_read_once(place: Place, engine: str) -> None:
    pipeline = orders(place)
    report = pipeline.run(engine=engine)
    assert place.look(COUNT) == [(75, 75)]
    assert (report.reason, report.exit_code, report.remaining) == ("complete", 0, 0)
    assert (report.entities_done, report.streams["orders"].new) == (3, 75)
    again = pipeline.run(engine=engine)
    assert (again.items, again.entities_done) == (0, 3)
    assert place.look(COUNT) == [(75, 75)]


def test_an_executor_of_the_user_will_do(sqlite_place: Place) -> None:
    with ThreadPoolExecutor(2) as executor:
        report = orders(sqlite_place).run(engine=executor)
    assert (report.reason, report.items) == ("complete", 75)


def test_async_functions_do_the_same(place: Place) -> None:
    pipeline = belaypin.Pipeline("shop", store=place.url)
    threads: set[str] = set()

    @pipeline.setup
    async def tables(store: Any) -> None:
        await store.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT, site TEXT)")

    @pipeline.entities
    async def sites() -> AsyncIterator[str]:
        for site in ("a", "b", "c"):
            yield site

    @pipeline.source("orders", since=EPOCH, until=EPOCH + DAY, at="at")
    async def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        threads.add(threading.current_thread().name)
        return page(items(site), cursor)

    @pipeline.items("orders")
    async def insert(tx: Any, found: list[Item], entity: str) -> None:
        rows = [(order["id"], entity) for order in found if tx.kind(order) == "new"]
        await tx.executemany(place.sql("INSERT INTO orders VALUES (?, ?)"), rows)
        result = await tx.execute("SELECT count(*) FROM orders")
        assert result.fetchone()[0] >= len(rows)

    assert pipeline.run(engine="threads:3").items == 75
    assert place.look(COUNT) == [(75, 75)]
    assert threads == {"belaypin-async"}


def test_an_async_handler_that_raises_fails_its_item_alone(place: Place) -> None:
    pipeline = orders(place)
    del pipeline.handlers["orders"]

    @pipeline.item("orders")
    async def insert(tx: Any, order: Item) -> None:
        await tx.execute(place.sql("INSERT INTO orders VALUES (?, 'x')"), (order["id"],))
        if order["n"] == 13:
            await tx.execute("SELECT nonsense")

    report = pipeline.run()
    assert (report.streams["orders"].new, report.streams["orders"].failed) == (72, 3)
    assert place.look(COUNT) == [(72, 72)]


def test_a_document_is_handled_when_it_has_changed(place: Place) -> None:
    pipeline = belaypin.Pipeline("shop", store=place.url)
    titles = {"a": "A", "b": "B"}
    handled = []

    @pipeline.watch("about", ignore=["seen"])
    def about(site: str) -> Item | None:
        return {"title": titles[site], "seen": object.__hash__(titles)} if site in titles else None

    @pipeline.item("about")
    def save(tx: belaypin.Work, document: Item, *, entity: str, kind: str) -> None:
        tx.execute("SELECT 1")
        handled.append((entity, kind, document["title"]))

    report = pipeline.run(engine="serial", entities=["a", "b", "gone"])
    assert handled == [("a", "new", "A"), ("b", "new", "B")]
    titles["b"] = "BB"
    report = pipeline.run(engine="serial", entities=["a", "b", "gone"])
    assert handled[2:] == [("b", "changed", "BB")]
    stream = report.streams["about"]
    assert (stream.new, stream.changed, stream.skipped) == (0, 1, 1)


def test_an_item_that_fails_is_put_aside_and_the_others_go_on(place: Place) -> None:
    pipeline = orders(place, ("a",))
    is_lucky = False
    insert = pipeline.handlers.pop("orders").function.call

    @pipeline.item("orders")
    def lucky(tx: belaypin.Work, order: Item, entity: str) -> None:
        insert(tx, order, entity)
        if order["n"] == 13 and not is_lucky:
            raise ValueError("13")

    report = pipeline.run(engine="serial")
    stream = report.streams["orders"]
    assert (stream.new, stream.failed, stream.quarantined) == (24, 1, 0)
    assert report.exit_code == 1
    is_lucky = True
    with pipeline_store(pipeline) as store:
        store.replay("shop")
    report = pipeline.run(engine="serial")
    assert (report.items, report.exit_code) == (1, 0)
    assert place.look(COUNT) == [(25, 25)]


def pipeline_store(pipeline: belaypin.Pipeline) -> belaypin.Store:
    return belaypin.open(pipeline.url())


def test_an_entity_that_fails_does_not_stop_the_others(place: Place) -> None:
    pipeline = orders(place)
    asked: list[str] = []

    def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        asked.append(site)
        if site == "b":
            raise ConnectionError("no route")
        return page(items(site), cursor)

    pipeline.parts.clear()
    pipeline.source("orders", since=EPOCH, until=EPOCH + DAY, at="at")(fetch)
    report = pipeline.run(engine="threads:2")
    assert (report.entities_done, report.entities_failed, report.exit_code) == (2, 1, 1)
    assert report.errors == (("b", "ConnectionError: no route"),)
    assert asked.count("b") == 2  # its policy allows two attempts
    with place.open() as store:
        status = store.status(("shop", "b"))
    assert (status.status, status.failed_runs) == ("waiting", 1) or status.status == "failed"
    assert "no route" in (status.error or "")


def test_an_entity_that_another_holds_is_tried_again_at_the_end(place: Place) -> None:
    pipeline = orders(place, ("a", "b"))
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with place.open() as store, store.lease("shop", "a"):
            entered.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(30)
    seen: list[Progress] = []

    def progress(now: Progress) -> None:
        seen.append(now)
        if now.entities_done == 1:
            leave.set()

    report = pipeline.run(engine="serial", progress=progress)
    holder.join()
    assert (report.entities_done, report.entities_held, report.exit_code) == (2, 0, 0)


def test_entities_that_a_live_worker_keeps_are_no_error(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_HELD", 2)  # so many names are kept
    pipeline = orders(sqlite_place, ("a", "b", "c", "d"))
    pipeline.ttl_s = 0.5
    with sqlite_place.open() as store, ExitStack() as held:
        for entity in ("a", "b", "c"):
            held.enter_context(store.lease("shop", entity))
        report = pipeline.run(engine="serial")
    assert (report.entities_done, report.entities_held) == (1, 3)
    assert (report.reason, report.exit_code) == ("complete", 0)


def test_an_endless_list_of_entities_is_read_as_far_as_needed(sqlite_place: Place) -> None:
    pipeline = orders(sqlite_place)
    taken = 0
    stop = Stop()

    def sites() -> Iterator[int]:
        nonlocal taken
        while True:
            yield taken
            taken += 1

    def progress(now: Progress) -> None:
        if now.entities_done >= 3:
            stop.set()

    pipeline.entities(sites)
    report = pipeline.run(engine="threads:2", stop=stop, progress=progress)
    assert (report.reason, report.exit_code, report.remaining) == ("stopped", 3, None)
    assert taken <= 100_000  # what is put in order at once


def test_a_list_of_entities_that_breaks_off_ends_the_run(sqlite_place: Place) -> None:
    def sites() -> Iterator[str]:
        yield from ("a", "b", "c")
        raise ConnectionError("no more pages")

    pipeline = belaypin.Pipeline("shop", store=sqlite_place.url)
    pipeline.watch("about")(lambda site: None)
    pipeline.item("about")(lambda tx, document: None)
    pipeline.entities(sites)
    report = pipeline.run(engine="threads:2")
    assert (report.reason, report.exit_code, report.remaining) == ("failed", 4, None)
    assert "can't be listed: ConnectionError: no more pages" in report.errors[0][1]
    assert report.entities_done == 3


def test_those_furthest_behind_come_first(sqlite_place: Place) -> None:
    pipeline = orders(sqlite_place, ("new", "b", "a"))
    visited: list[str] = []
    ends = {"a": 5, "b": 20}

    def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        visited.append(site)
        return items(site, ends.get(site, 25)), None

    pipeline.parts.clear()
    pipeline.source("orders", since=EPOCH, at="at")(fetch)
    pipeline.run(engine="serial", entities=["b", "a"])
    visited.clear()
    ends.clear()
    pipeline.run(engine="serial")
    assert list(dict.fromkeys(visited)) == ["a", "b", "new"]


def test_of_many_those_furthest_behind_come_first(sqlite_place: Place) -> None:
    """Beyond the thousand that are looked up one by one, and with others in the store."""
    pipeline = orders(sqlite_place)
    behind = {"far": 10, "farther": 5, "near": 20, "gone": 1}
    pipeline.parts.clear()
    fetch = lambda site, window, cursor: (items(site, behind[site]), None)  # noqa: E731
    pipeline.source("orders", since=EPOCH, at="at")(fetch)
    pipeline.run(engine="serial", entities=["near", "far", "farther", "gone"])
    unknown = [f"new:{n}" for n in range(1_500)]
    names = ["near", *unknown, "farther", "far", "far"]
    wanted = ["farther", "far", "far", "near", *unknown]
    with sqlite_place.open() as store:
        for entities in (names, iter(names)):
            feed = Feed(entities, store, pipeline, 7)
            assert feed.remaining == (None if entities is not names else len(names))
            given: list[str] = []
            while batch := feed.batch():
                assert len(batch) <= 7
                given += batch
                assert feed.remaining == len(names) - len(given)
            assert given == wanted


def test_a_slow_list_of_entities_does_not_keep_the_first_from_work(sqlite_place: Place) -> None:
    def slowly() -> Iterator[str]:
        yield from (f"new:{n}" for n in range(1_000))
        threading.Event().wait(1.2)
        yield "late"
        raise AssertionError("asked for more before these were given out")

    with sqlite_place.open() as store:
        feed = Feed(slowly(), store, orders(sqlite_place), 10)
        assert feed.batch() == tuple(f"new:{n}" for n in range(10))
        assert feed.remaining is None


def test_a_deadline_ends_a_run_after_the_page_in_hand(sqlite_place: Place) -> None:
    pipeline = orders(sqlite_place)
    first = threading.Event()

    def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        if first.is_set():
            threading.Event().wait(0.3)
        first.set()
        return page(items(site), cursor, size=1)

    pipeline.parts.clear()
    pipeline.source("orders", since=EPOCH, until=EPOCH + DAY, at="at")(fetch)
    report = pipeline.run(engine="serial", deadline_s=2)
    assert (report.reason, report.exit_code, report.remaining) == ("deadline", 3, 3)
    ((rows, distinct),) = sqlite_place.look(COUNT)
    assert rows == distinct == report.items > 0
    with sqlite_place.open() as store, store.lease("shop", "a"):
        pass  # it was released


def test_recovery_does_the_work_of_the_pipeline(place: Place) -> None:
    pipeline = orders(place, ("a",))
    is_down = True

    def fetch(site: str, window: belaypin.Window, cursor: Any) -> Any:
        if cursor and is_down:
            raise ConnectionError("down")
        return page(items(site), cursor)

    pipeline.parts.clear()
    pipeline.source("orders", since=EPOCH, until=EPOCH + DAY, at="at")(fetch)
    assert (pipeline.run(engine="serial").entities_failed, place.look(COUNT)) == (1, [(10, 10)])
    is_down = False
    threading.Event().wait(0.05)  # until it is due
    with place.open() as store:
        report = store.recover(pipeline.work)
    assert report.ok, report
    assert place.look(COUNT) == [(25, 25)]


def test_progress_is_told_in_counts(sqlite_place: Place) -> None:
    seen: list[Progress] = []
    orders(sqlite_place).run(engine="serial", progress=seen.append)
    assert seen
    assert seen[0].remaining is not None


def test_a_pipeline_is_loaded_by_its_name() -> None:
    assert load("tests.pipelines.shop:shop").name == "shop"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense", "MODULE:ATTRIBUTE"),
        ("nowhere_at_all:x", "no module 'nowhere_at_all'"),
        ("tests.pipelines.shop:missing", "it has shop"),
        ("json:dumps", "no belaypin.Pipeline"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_was_looked_for(name: str, says: str) -> None:
    with pytest.raises(belaypin.UsageError, match=says):
        load(name)


def test_the_environment_may_name_the_store(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BELAYPIN_STORE", sqlite_place.url)
    pipeline = orders(sqlite_place)
    pipeline.store = None
    assert pipeline.run(engine="serial").items == 75
    assert sqlite_place.look(COUNT) == [(75, 75)]


def test_what_is_missing_is_said_before_anything_runs(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BELAYPIN_STORE", raising=False)
    pipeline = belaypin.Pipeline("shop")
    with pytest.raises(belaypin.UsageError, match="reads nothing"):
        pipeline.run(sqlite_place.url)
    pipeline.source("orders", since=EPOCH)(lambda site, window, cursor: ([], None))
    with pytest.raises(belaypin.UsageError, match="Nothing handles 'orders'"):
        pipeline.run(sqlite_place.url)
    pipeline.item("orders")(lambda tx, order: None)
    with pytest.raises(belaypin.UsageError, match="has no store"):
        pipeline.run()
    with pytest.raises(belaypin.UsageError, match="entities"):
        pipeline.run(sqlite_place.url)
    pipeline.item("others")(lambda tx, order: None)
    with pytest.raises(belaypin.UsageError, match="nothing fetches it"):
        pipeline.run(sqlite_place.url)


@pytest.mark.parametrize("wrong", ["thread:4", "threads:0", "threads:x", "serial:2", 7])
def test_an_engine_that_is_none_is_refused(sqlite_place: Place, wrong: Any) -> None:
    with pytest.raises(belaypin.UsageError, match="engine|workers"):
        orders(sqlite_place).run(engine=wrong)


@pytest.mark.parametrize("wrong", [lambda tx: None, lambda tx, item, colour: None, "text"])
def test_a_function_that_cannot_be_called_is_refused(wrong: Any) -> None:
    with pytest.raises(belaypin.UsageError, match=r"\(tx, item\)"):
        belaypin.Pipeline("shop").item("orders")(wrong)


@pytest.mark.parametrize("wrong", [None, "", True, 1.5, ("a", "b")])
def test_an_entity_that_is_none_is_refused(sqlite_place: Place, wrong: Any) -> None:
    with pytest.raises(belaypin.UsageError, match="names no entity"):
        orders(sqlite_place).run(entities=[wrong])


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_whose_package_is_missing_names_the_extra(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"belaypin.pipeline.{engine}", raising=False)
    with pytest.raises(belaypin.MissingDriver, match=rf"pip install 'belaypin\[{engine}\]'"):
        orders(sqlite_place).run(engine=engine)


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_an_engine_whose_package_is_broken_says_what_it_lacks(
    sqlite_place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    package: str,
) -> None:
    for name in {engine, package}:
        (tmp_path / f"{name}.py").write_text("import a_package_that_nobody_has")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, f"belaypin.pipeline.{engine}", raising=False)
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        orders(sqlite_place).run(engine=engine)
