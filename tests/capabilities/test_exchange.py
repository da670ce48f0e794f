"""Exchange: what was exported and imported again is the same store, and work goes on in it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import CorruptRecord, SchemaTooNew, UsageError
from belaypin.testing import FakeClock
from belaypin.testing.conformance.source import Source, event, events, minute
from tests.stateful.truth import check_heads

PAIRS = [("file", "postgres"), ("postgres", "file"), ("file", "memory")]
NAMES = ("a", "b", "c")
SCHEMA = belaypin.Schema(2, {0: lambda state: state, 1: lambda state: state})


@pytest.fixture
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    return {
        "file": f"sqlite:///{tmp_path}/store.db",
        "memory": "sqlite:///:memory:",
        "postgres": request.getfixturevalue("postgres_url"),
    }


def _fill(store: Any) -> dict[str, int]:
    """Entities with all that an entity may have; returns the tokens of their leases."""
    store.execute("CREATE TABLE effect (id TEXT)")
    store.save("shop", {"pages": 9})
    tokens = {}
    for number, name in enumerate(NAMES):
        with store.lease("shop", name) as lease:
            tokens[name] = lease.token
            with lease.changed("profile", {"name": name, "size": 1.5}):
                pass
            for start in (0, 40):
                source = Source(events(5 + number, first=start), page_items=3)
                options = {"since": minute(start), "until": minute(start + 20), "at": "at"}
                for window in lease.windows("posts", **options):
                    _take(window.pages(source.within(window)), fails=f"{start + 2}")
        for pages in range(3):
            store.save(("shop", name), {"pages": pages}, schema=belaypin.Schema(2))
    store.save(("shop", "without a row", "doc"), ["x", None, "ü"])
    with pytest.raises(KeyboardInterrupt):
        _stop_in_mid_window(store)
    return tokens


def _stop_in_mid_window(store: Any) -> None:
    source = Source([event(f"late-{n}", 60 + n) for n in range(9)], page_items=3)
    with store.lease("shop", "a") as lease:
        for window in lease.windows("posts", since=minute(60), until=minute(80), at="at"):
            for index, page in enumerate(window.pages(source.within(window))):
                if index == 1:
                    raise KeyboardInterrupt
                with page.commit() as tx:
                    tx.fresh(page.items, key="id", content=["body"])


def _take(pages: Any, fails: str) -> None:
    for page in pages:
        with page.commit() as tx:
            for item in tx.fresh(page.items, key="id"):
                with tx.attempt(item):
                    if str(item["id"]) == fails:
                        raise ZeroDivisionError(fails)


def _told(store: Any) -> dict[str, Any]:
    """Everything that the store tells of the pipeline."""
    told: dict[str, Any] = {}
    for row in (*store.entities(), *store.streams()):
        key = row.key
        told[str(key)] = {
            "row": row,
            "checkpoint": store.load(key, schema=SCHEMA),
            "history": [
                (v, store.load(key, schema=SCHEMA, version=v.version)) for v in store.history(key)
            ],
            "covered": store.coverage(key),
            "items": [(i.item_id, i.fingerprint) for i in store.items(key)],
            "seen": store.seen(key, [*range(80), *(f"late-{n}" for n in range(9))]),
        }
    told["failures"] = [
        (f.key, f.item_id, f.status, store.failure(f.failure_id).payload) for f in store.failures()
    ]
    told["pipeline"] = store.load("shop").state
    return told


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_what_is_imported_is_the_same(urls: dict[str, str], source: str, target: str) -> None:
    clock = FakeClock(minute(100))
    with belaypin.open(urls[source], clock=clock) as old:
        tokens = _fill(old)
        lines = list(old.export("shop"))
        expected = _told(old)
    with belaypin.open(urls[target], clock=clock) as new:
        report = new.import_(lines)
        assert (report.entities, report.left) == (5, 0)
        assert _told(new) == expected
        assert not new.verify().findings
        check_heads(new.execute)
        assert new.import_(lines).entities == 0
        assert _told(new) == expected
        clock.set(minute(0))  # a clock set back makes no token small
        with new.lease("shop", "a") as lease:
            assert lease.token > tokens["a"]
        clock.set(minute(100))
        _goes_on(new)


def _goes_on(store: Any) -> None:
    """The open window goes on at its cursor, and nothing comes twice."""
    source = Source([event(f"late-{n}", 60 + n) for n in range(9)], page_items=3)
    found: list[Any] = []
    with store.lease("shop", "a") as lease:
        for window in lease.windows("posts", since=minute(60), until=minute(80), at="at"):
            for page in window.pages(source.within(window)):
                with page.commit() as tx:
                    found += [i["id"] for i in tx.fresh(page.items, key="id", content=["body"])]
    assert source.cursors == [3, 6]
    assert found == [f"late-{n}" for n in range(3, 9)]


async def test_async_stores_exchange_as_well(urls: dict[str, str]) -> None:
    clock = FakeClock(minute(100))
    with belaypin.open(urls["file"], clock=clock) as filled:
        _fill(filled)
        expected = _told(filled)
    async with await belaypin.aopen(urls["file"], clock=clock) as old:
        lines = [line async for line in old.export("shop")]
    async with await belaypin.aopen(urls["postgres"], clock=clock) as new:
        assert (await new.import_(lines, pipeline="shop")).items > 0
    with belaypin.open(urls["postgres"], clock=clock) as new_one:
        assert _told(new_one) == expected


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("exported") / "store.db"
    with belaypin.open(f"sqlite:///{path}", clock=FakeClock(minute(100))) as store:
        _fill(store)
        return list(store.export("shop"))


def test_an_export_is_lines_of_json_with_a_kind(exported: list[bytes]) -> None:
    records = [json.loads(line) for line in exported]
    kinds = {record["kind"] for record in records}
    assert kinds >= {"header", "key", "coverage", "segment", "failure", "history", "end"}
    assert (records[0]["kind"], records[0]["format"]) == ("header", 1)
    assert records[-1]["lines"] == len(exported)
    states = [record.get("state") for record in records if record["kind"] == "key"]
    assert {"pages": 2} in states
    assert all(len(record["sum"]) == 16 for record in records)


def test_an_import_that_was_cut_off_goes_on(exported: list[bytes]) -> None:
    clock = FakeClock(minute(100))
    with belaypin.open("sqlite:///:memory:", clock=clock) as whole:
        whole.import_(exported)
        expected = _told(whole)
    for cut in range(1, len(exported)):
        with belaypin.open("sqlite:///:memory:", clock=clock) as store:
            with pytest.raises(CorruptRecord, match="cut off"):
                store.import_(exported[:cut])
            store.import_(exported)
            assert _told(store) == expected
            assert not store.verify().findings


@given(data=st.data())
def test_a_damaged_export_is_named_and_what_came_before_is_whole(
    exported: list[bytes], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(exported) - 1))
    line = exported[at]
    place = data.draw(st.integers(0, len(line) - 2))
    kind = data.draw(st.sampled_from(["byte", "missing", "twice", "swapped"]))
    lines = list(exported)
    if kind == "byte":
        lines[at] = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
    elif kind == "missing":
        del lines[at]
    elif kind == "twice":
        lines.insert(at, line)
    else:
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda n: n != at))
        lines[at], lines[other] = lines[other], lines[at]
    with belaypin.open("sqlite:///:memory:", clock=FakeClock(minute(100))) as store:
        if "".join(map(repr, lines)) != "".join(map(repr, exported)):
            with pytest.raises((CorruptRecord, UsageError)):
                store.import_(lines)
        assert not store.verify().findings


def test_a_pipeline_that_is_there_is_not_overwritten(exported: list[bytes]) -> None:
    with belaypin.open("sqlite:///:memory:", clock=FakeClock(minute(100))) as store:
        store.save(("shop", "b"), {"mine": 1})
        with pytest.raises(UsageError, match="merge=True"):
            store.import_(exported)
        assert [row.key.entity for row in store.entities()] == ["b"]
        report = store.import_(exported, merge=True)
        assert (report.entities, report.left) == (4, 1)
        assert _state(store, "shop", "b") == {"mine": 1}
        assert _state(store, "shop", "a") == {"pages": 2}
        other = store.import_(exported, pipeline="copy")
        assert other.entities == 5
        assert _state(store, "copy", "b") == {"pages": 2}
        assert not store.verify().findings


def _state(store: Any, *key: str) -> Any:
    return store.load(key, schema=SCHEMA).state


def test_another_export_waits_until_the_first_is_whole(exported: list[bytes]) -> None:
    with belaypin.open("sqlite:///:memory:", clock=FakeClock(minute(100))) as store:
        with pytest.raises(CorruptRecord):
            store.import_(exported[:4])
        with belaypin.open("sqlite:///:memory:", clock=FakeClock(minute(100))) as other:
            other.save(("shop", "z"), 1)
            second = list(other.export("shop"))
        with pytest.raises(UsageError, match="half imported"):
            store.import_(second, merge=True)
        store.import_(exported)
        assert store.import_(second, merge=True).entities == 1


def test_a_newer_format_is_refused(exported: list[bytes]) -> None:
    from belaypin.exchange import Chain, Header

    newer = Chain().encode(Header(2, "shop", "1", "9.9.9", 0))
    with belaypin.open("sqlite:///:memory:") as store:
        with pytest.raises(SchemaTooNew, match="format 2"):
            store.import_([newer, *exported[1:]])
        for bad in ([], [b"hello\n"], exported[1:], ["{}"]):
            with pytest.raises(CorruptRecord):
                store.import_(bad)
        with pytest.raises(UsageError, match="no pipeline"):
            list(store.export("shop"))


def test_an_age_is_not_lost(exported: list[bytes]) -> None:
    clock = FakeClock(minute(100))
    with belaypin.open("sqlite:///:memory:", clock=clock) as store:
        store.import_(exported)
        clock.advance("1d")
        lags = [row.lag for row in store.streams(order="lag")]
        assert lags
        assert all(lag is not None and lag > timedelta(days=1) for lag in lags)
