"""Schemas: old states are read as new ones, newer ones are left alone, nothing is lost on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

import belaypin
from belaypin import CorruptRecord, Schema, SchemaTooNew, UsageError, VersionConflict
from belaypin.codec import encode_frame
from tests.capabilities.sites import FixedClock, Site

FILES = ["file", "postgres"]  # where others can connect, too
KEY = ("shop", "user:7", "totals")


class Totals(msgspec.Struct):
    """The third shape: version 1 had ``page``, version 2 ``pages``; bytes came with version 3."""

    pages: int
    bytes_read: int = 0


def one_to_two(data: Any) -> Any:
    data["pages"] = data.pop("page") + 1
    return data


V1 = Schema(1, {0: lambda data: {"page": data["p"]}})
V2 = Schema(2, {**V1.upcasts, 1: one_to_two})
V3 = Schema(3, {**V2.upcasts, 2: lambda data: {**data, "bytes_read": 0}})
SHAPES: list[tuple[Schema | None, Any]] = [(None, {"p": 3}), (V1, {"page": 3}), (V2, {"pages": 4})]


@asynccontextmanager
async def refused(site: Site, kind: type[Exception], *words: str) -> AsyncIterator[None]:
    """The block raises ``kind`` with these words, and nothing is written."""
    before = await site.dump()
    with pytest.raises(kind) as caught:
        yield
    assert caught.type is kind
    assert [word for word in words if word not in str(caught.value)] == []
    assert await site.dump() == before


async def originals(site: Site) -> list[tuple[Any, ...]]:
    return await site.query(
        "SELECT k.entity, o.schema_version, o.version, o.replaced_by, o.state "
        "FROM belaypin_original AS o JOIN belaypin_checkpoint AS k ON k.key_id = o.key_id "
        "ORDER BY k.entity, o.schema_version"
    )


# --- one state at a time --------------------------------------------------------------------------


@pytest.mark.parametrize(("schema", "state"), SHAPES)
async def test_an_older_state_is_upcast_in_memory_only(
    site: Site, schema: Schema | None, state: Any
) -> None:
    store = await site.open()
    await store.save(KEY, state, schema=schema)
    before = await site.dump()
    for _ in range(2):
        found = await store.load(KEY, Totals, schema=V3)
        assert found.state == Totals(4)
        assert found.schema_version == (schema.version if schema else 0)
    assert await site.dump() == before


@pytest.mark.parametrize(("schema", "state"), SHAPES)
async def test_the_next_save_stores_it_and_keeps_the_original(
    site: Site, schema: Schema | None, state: Any
) -> None:
    store = await site.open()
    await store.save(KEY, state, schema=schema)
    ((stored,),) = await site.query("SELECT state FROM belaypin_checkpoint")
    found = await store.load(KEY, Totals, schema=V3)
    found.state.bytes_read = 10
    assert await store.save(KEY, found.state, schema=V3, expected_version=found.version) == 2
    again = await store.load(KEY, Totals, schema=V3)
    assert (again.state, again.schema_version) == (Totals(4, 10), 3)
    old = schema.version if schema else 0
    assert await originals(site) == [("user:7", old, 1, 3, stored)]


async def test_originals_can_be_read_and_saved_again(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    assert await store.originals(KEY) == []
    for schema, state in SHAPES:
        await store.save(KEY, state, schema=schema)
    found = await store.originals(KEY)
    assert [(o.state, o.version, o.schema_version) for o in found] == [
        ({"p": 3}, 1, 0),
        ({"page": 3}, 2, 1),
    ]
    assert found[0].key == belaypin.Key(*KEY)
    assert int(found[0].replaced_at.timestamp()) * 1_000_000 == clock.us
    async with refused(site, SchemaTooNew):
        await store.save(KEY, found[1].state, schema=V1)  # not under its old version
    await site.query("UPDATE belaypin_original SET schema_version = 7 WHERE schema_version = 1")
    async with refused(site, CorruptRecord, "the original at shop", "version 7"):
        await store.originals(KEY)


async def test_saves_of_the_same_schema_keep_no_originals(site: Site) -> None:
    store = await site.open()
    for pages in range(3):
        await store.save(KEY, Totals(pages), schema=V3)
    assert await originals(site) == []


async def test_each_replaced_shape_is_kept_once(site: Site) -> None:
    store = await site.open()
    for schema, state in SHAPES:
        await store.save(KEY, state, schema=schema)
        await store.save(KEY, state, schema=schema)
    await store.save(KEY, Totals(4), schema=V3)
    assert [row[:4] for row in await originals(site)] == [
        ("user:7", 0, 2, 1),
        ("user:7", 1, 4, 2),
        ("user:7", 2, 6, 3),
    ]


@pytest.mark.parametrize("old", [None, V1, V2])
async def test_newer_data_is_refused_and_never_lowered(site: Site, old: Schema | None) -> None:
    store, other = await site.open(), await site.open()
    await store.save(KEY, Totals(4, 10), schema=V3)
    knows = f"up to {old.version}" if old else "no schema"
    words = ("shop / user:7 / totals", "version 3", knows, "newer code")
    async with refused(site, SchemaTooNew, *words):
        await other.load(KEY, schema=old)
    for expected in (None, 1, 0, 99):
        async with refused(site, SchemaTooNew, *words):
            await other.save(KEY, {"page": 1}, schema=old, expected_version=expected)


async def test_an_old_worker_cannot_save_what_it_loaded_before_the_new_one_came(site: Site) -> None:
    old, new = await site.open(), await site.open()
    await old.save(KEY, {"page": 3}, schema=V1)
    held = await old.load(KEY, dict, schema=V1)
    taken = await new.load(KEY, Totals, schema=V3)
    await new.save(KEY, Totals(50, 1), schema=V3, expected_version=taken.version)
    for expected in (held.version, None):
        async with refused(site, SchemaTooNew):
            await old.save(KEY, {"page": 4}, schema=V1, expected_version=expected)
    assert (await new.load(KEY, Totals, schema=V3)).state == Totals(50, 1)


async def test_what_is_migrated_on_read_is_saved_with_its_version(site: Site) -> None:
    store, other = await site.open(), await site.open()
    await store.save(KEY, {"page": 3}, schema=V1)
    mine = await store.load(KEY, Totals, schema=V3)
    await other.save(KEY, {"page": 30}, schema=V1)
    async with refused(site, VersionConflict, "shop / user:7 / totals"):
        await store.save(KEY, mine.state, schema=V3, expected_version=mine.version)
    assert (await store.load(KEY, Totals, schema=V3)).state == Totals(31)


async def test_errors_name_the_key_the_versions_and_the_upcast(site: Site) -> None:
    store = await site.open()
    await store.save(KEY, {"other": 3}, schema=V1)
    words = ("shop / user:7 / totals", "from schema version 1 to 2", "KeyError", "upcasts[1]")
    async with refused(site, UsageError, *words):
        await store.load(KEY, Totals, schema=V3)
    unstorable = Schema(2, {1: lambda data: {"at": {1, 2}}})
    async with refused(site, UsageError, "upcasts[1]", "JSON"):
        await store.load(KEY, Totals, schema=unstorable)
    async with refused(site, UsageError, "has schema version 1", "from 2 on", "upcasts[1]"):
        await store.load(KEY, Totals, schema=Schema(3, {2: dict}))
    async with refused(site, UsageError, "totals", "schema version 1", "not a Totals"):
        await store.load(KEY, Totals, schema=V1)
    wrong: Any = 2
    async with refused(site, UsageError, "belaypin.Schema"):
        await store.load(KEY, Totals, schema=wrong)


async def test_a_row_and_its_record_must_agree(site: Site) -> None:
    store = await site.open()
    await store.save(KEY, {"page": 3}, schema=V1)
    await site.query("UPDATE belaypin_checkpoint SET schema_version = 0")
    async with refused(site, CorruptRecord, "totals", "schema version 0", "itself 1"):
        await store.load(KEY, schema=V1)


@pytest.mark.parametrize("database", FILES)
@pytest.mark.parametrize("colour", ["sync"])
async def test_a_joined_save_is_undone_with_its_original(site: Site) -> None:
    store: Any = await site.open()
    await store.save(KEY, {"page": 3}, schema=V1)
    before = await site.dump()
    with site.user() as connection:
        await store.joined(connection).save(KEY, Totals(4), schema=V3)
        connection.rollback()
    assert await site.dump() == before


# --- in bulk --------------------------------------------------------------------------------------


async def fill(store: Any, count: int) -> None:
    for n in range(count):
        await store.save(("shop", f"user:{n:03}", "totals"), {"page": n}, schema=V1)


async def pages(store: Any, count: int) -> list[int]:
    keys = [("shop", f"user:{n:03}", "totals") for n in range(count)]
    return [(await store.load(key, Totals, schema=V3)).state.pages for key in keys]


async def test_a_dry_run_shows_what_it_would_do_and_does_nothing(site: Site) -> None:
    store = await site.open()
    await fill(store, 3)
    before = await site.dump()
    report = await store.upcast_states("shop", Totals, V3, stream="totals")
    assert await site.dump() == before
    assert (report.dry_run, report.upcast, report.current, report.failed) == (True, 3, 0, 0)
    assert not report.is_complete
    assert str(report).splitlines()[:5] == [
        "3 would be upcast to schema version 3, 0 were there already, 0 are newer, 0 failed",
        "shop / user:000 / totals: 1 -> 3",
        "    + bytes_read: 0",
        "    - page: 0",
        "    + pages: 1",
    ]


async def test_bulk_upcasts_each_once_and_keeps_the_originals(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await fill(store, 3)
    stored = [
        row[0] for row in await site.query("SELECT state FROM belaypin_checkpoint ORDER BY 1")
    ]
    held = await store.load(("shop", "user:001", "totals"), Totals, schema=V3)
    clock.advance(60)
    report = await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    assert (report.upcast, report.is_complete) == (3, True)
    rows = await site.query("SELECT schema_version, version, updated_us FROM belaypin_checkpoint")
    assert rows == [(3, 1, clock.us - 60_000_000)] * 3  # the state is the same: no new version
    assert sorted(row[4] for row in await originals(site)) == sorted(stored)
    assert await pages(store, 3) == [1, 2, 3]
    again = await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    assert (again.upcast, again.current, again.is_complete) == (0, 3, True)
    saving = store.save(held.key, Totals(9), schema=V3, expected_version=held.version)
    assert await saving == 2


async def test_only_the_kind_that_was_named_is_touched(site: Site) -> None:
    store = await site.open()
    await fill(store, 2)
    others = [
        ("shop",),
        ("shop", "user:000"),
        ("shop", "user:000", "other"),
        ("shop2", "a", "totals"),
    ]
    for key in others:
        await store.save(key, {"page": 7}, schema=V1)
    await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    for key in others:
        assert (await store.load(key, schema=V1)).schema_version == 1
    report = await store.upcast_states("shop", Totals, V3, dry_run=False)
    assert [change.key for change in report.changes] == [belaypin.Key("shop", "user:000")]


async def test_it_goes_on_where_it_stopped(site: Site) -> None:
    store = await site.open()
    await fill(store, 7)
    after, seen = None, []
    while True:
        report = await store.upcast_states(
            "shop", Totals, V3, stream="totals", dry_run=False, limit=3, after=after
        )
        seen.append(report.upcast)
        assert report.is_complete is (report.go_on_after is None)
        after = report.go_on_after
        if after is None:
            break
        assert "go on after shop / user:00" in str(report)
    assert seen == [3, 3, 1]
    assert await pages(store, 7) == [*range(1, 8)]


async def test_an_interrupted_run_keeps_what_it_did(site: Site) -> None:
    store = await site.open()
    await fill(store, 120)

    def interrupted(data: Any) -> Any:
        if data["page"] == 110:
            raise KeyboardInterrupt
        return one_to_two(data)

    stopped = Schema(3, {1: interrupted, 2: V3.upcasts[2]})
    with pytest.raises(KeyboardInterrupt):
        await store.upcast_states("shop", Totals, stopped, stream="totals", dry_run=False)
    done = "SELECT count(*) FROM belaypin_checkpoint WHERE schema_version = 3"
    assert await site.query(done) == [(100,)]  # whole steps only
    report = await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    assert (report.upcast, report.current, len(report.changes)) == (20, 100, 20)
    assert await pages(store, 120) == [*range(1, 121)]


async def test_a_state_that_cannot_be_upcast_stops_no_other(site: Site) -> None:
    store = await site.open()
    await fill(store, 5)
    await store.save(("shop", "user:001", "totals"), {"no page": 1}, schema=V1)
    await store.save(("shop", "user:002", "totals"), {"page": 1.5}, schema=V1)
    await store.save(("shop", "user:003", "totals"), {"pages": 1, "new": 2}, schema=Schema(4))
    damaged = encode_frame(b'{"page": 4}', schema_version=1)[:-1] + b"!"
    await site.query(
        "UPDATE belaypin_checkpoint SET state = ? WHERE entity = ?", (damaged, "user:004")
    )
    before = (await site.dump())[0]
    report = await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    assert (report.upcast, report.newer, report.failed) == (1, 1, 3)
    assert not report.is_complete
    assert [failure.key.entity[-1] for failure in report.failures] == ["1", "2", "4"]
    for words in ("KeyError", "not a Totals", "damaged", "go on" if report.go_on_after else ""):
        assert words in str(report)
    changed = [row for row in (await site.dump())[0] if row not in before]
    assert len(changed) == 1


@pytest.mark.parametrize("database", FILES)
async def test_a_state_that_a_worker_saves_meanwhile_is_not_overwritten(site: Site) -> None:
    store = await site.open()
    await fill(store, 3)

    def worker_saves(state: Any, schema: Schema) -> None:
        with belaypin.open(site.url) as worker:
            worker.save(("shop", "user:001", "totals"), state, schema=schema)

    def meeting(state: Any, schema: Schema, times: int) -> Schema:
        left = [None] * times

        def meets(data: Any) -> Any:
            if left and data["page"] != 0 and data["page"] != 2:
                left.pop()
                worker_saves(state, schema)
            return one_to_two(data)

        return Schema(3, {**V3.upcasts, 1: meets})

    run: Callable[[Schema], Any] = lambda schema: store.upcast_states(  # noqa: E731
        "shop", Totals, schema, stream="totals", dry_run=False
    )
    report = await run(meeting({"page": 70}, V1, 1_000))
    assert (report.upcast, report.failed) == (2, 1)
    assert "kept saving it" in str(report)
    report = await run(meeting({"page": 71}, V1, 1))
    assert (report.upcast, report.current, report.failed) == (1, 2, 0)
    assert await pages(store, 3) == [1, 72, 3]


@pytest.mark.parametrize("database", FILES)
async def test_a_worker_that_has_stored_the_new_shape_meanwhile_wins(site: Site) -> None:
    store = await site.open()
    await fill(store, 2)

    def meets(data: Any) -> Any:
        if data["page"] == 1:
            with belaypin.open(site.url) as worker:
                worker.save(("shop", "user:001", "totals"), Totals(90, 5), schema=V3)
        return one_to_two(data)

    schema = Schema(3, {**V3.upcasts, 1: meets})
    report = await store.upcast_states("shop", Totals, schema, stream="totals", dry_run=False)
    assert (report.upcast, report.current) == (1, 1)
    assert await pages(store, 2) == [1, 90]
    assert [row[:3] for row in await originals(site)] == [("user:000", 1, 1), ("user:001", 1, 1)]


@pytest.mark.parametrize("database", FILES)
async def test_an_older_bulk_run_does_not_lower_what_a_newer_one_did_meanwhile(site: Site) -> None:
    store = await site.open()
    await fill(store, 1)

    def meets(data: Any) -> Any:
        with belaypin.open(site.url) as newer:
            newer.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
        return one_to_two(data)

    report = await store.upcast_states(
        "shop", dict, Schema(2, {1: meets}), stream="totals", dry_run=False
    )
    assert (report.upcast, report.newer) == (0, 1)
    assert await site.query("SELECT schema_version FROM belaypin_checkpoint") == [(3,)]


async def test_a_state_that_was_put_back_is_kept_as_it_was_then(site: Site) -> None:
    store = await site.open()
    await fill(store, 1)
    await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    frame = encode_frame(b'{"page":50}', schema_version=1)  # by an operator, from a backup
    await site.query("UPDATE belaypin_checkpoint SET schema_version = 1, state = ?", (frame,))
    await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False)
    (original,) = await store.originals(("shop", "user:000", "totals"))
    assert original.state == {"page": 50}


async def test_originals_are_kept_until_they_are_confirmed(site: Site) -> None:
    store = await site.open()
    await fill(store, 4)
    await store.save(("shop2", "user:000", "totals"), {"page": 1}, schema=V1)
    await store.save(("shop2", "user:000", "totals"), Totals(1), schema=V3)
    await store.upcast_states("shop", object, V2, stream="totals", dry_run=False)
    await store.upcast_states("shop", Totals, V3, stream="totals", dry_run=False, limit=2)
    assert await store.confirm_states("shop", V1, stream="totals") == 0
    assert await store.confirm_states("shop", V3) == 0  # no such states
    assert await store.confirm_states("shop", V3, stream="totals") == 4  # of the two at version 3
    assert [row[:2] for row in await originals(site)] == [
        ("user:000", 1),
        ("user:002", 1),
        ("user:003", 1),
    ]
    assert await store.confirm_states("shop", V2, stream="totals") == 2
    assert await store.confirm_states("shop2", V3, stream="totals") == 1
    assert await originals(site) == []
    assert await pages(store, 4) == [1, 2, 3, 4]


async def test_calls_that_make_no_sense_are_refused(site: Site) -> None:
    store = await site.open()
    await fill(store, 1)
    bad: list[dict[str, Any]] = [
        {"schema": 3},
        {"schema": None},
        {"pipeline": ""},
        {"stream": ""},
        {"limit": 0},
        {"show": -1},
        {"after": ("shop2", "a", "totals")},
        {"after": "shop"},
    ]
    good: dict[str, Any] = {"pipeline": "shop", "type": Totals, "schema": V3, "stream": "totals"}
    for wrong in bad:
        async with refused(site, UsageError):
            await store.upcast_states(**{**good, **wrong}, dry_run=False)
