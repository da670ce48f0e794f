"""States: what is saved at a key is read back as it was, or an error says why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from belaypin._async.store import AsyncStore
from belaypin.errors import CorruptRecord, SchemaTooNew, UsageError, VersionConflict
from belaypin.keys import Key
from belaypin.testing.clock import FakeClock
from belaypin.testing.conformance._async.loop import KEY, mine, opened, together
from belaypin.testing.conformance._async.place import AsyncPlace
from belaypin.testing.conformance.expect import raises, refused
from belaypin.testing.conformance.needs import needs
from belaypin.testing.conformance.source import DAY, Source, events, minute


@dataclass
class Progress:
    """A state as a dataclass, with a type that JSON does not have."""

    pages: int
    until: datetime
    tags: tuple[str, ...] = ()


class Position(msgspec.Struct):
    """A state as a msgspec Struct."""

    offset: int
    files: dict[str, int] = {}


async def check_states_are_read_back(place: AsyncPlace) -> None:
    store, other = await opened(place), await place.open()
    states: list[Any] = [
        {"a": [1, 2.5, None, True, "\N{SNOWMAN}"], "": {}},
        Progress(3, DAY, ("x", "y")),
        Position(2**62, {"a.csv": 7}),
        [1, 2],
        "text",
        None,
        {"long": "x" * 100_000},
    ]
    for version, state in enumerate(states, 1):
        assert await store.save(KEY, state) == version
        found = await other.load(KEY, type(state) if state is not None else object)
        assert found is not None
        assert (found.state, found.version, found.key) == (state, version, Key(*KEY))


async def check_there_may_be_none(place: AsyncPlace) -> None:
    store = await opened(place)
    assert await store.load(KEY) is None


async def check_keys_never_meet(place: AsyncPlace) -> None:
    store = await opened(place)
    keys: list[Any] = [
        "a",
        ("b",),
        ("a", "b"),
        ("a", "b", "c"),
        ("a/b", "c"),
        ("a", "b/c"),
        ("a:b", "c"),
        ("a", "b:c"),
        ("ab", "c"),
        ("a", "bc"),
        ("A", "b"),
        ("a", "b "),
        ("a", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("a", "e\N{COMBINING ACUTE ACCENT}"),
        ("x" * 512, "y" * 512, "z" * 512),
        ("'; DROP TABLE effect; --", "%s ?", ":key"),
        Key("p", "q"),
    ]
    for number, key in enumerate(keys):
        assert await store.save(key, number) == 1
    assert [(await store.load(key)).state for key in keys] == [*range(len(keys))]  # type: ignore[union-attr]


async def check_a_version_is_written_once(place: AsyncPlace) -> None:
    store, other = await opened(place), await place.open()
    assert await store.save(KEY, "a", expected_version=0) == 1
    assert await other.save(KEY, "b", expected_version=1) == 2
    for stale in (0, 1, 3, -1):
        with refused(place, VersionConflict, "again"):
            await store.save(KEY, "stale", expected_version=stale)
    with refused(place, VersionConflict):
        await store.save(("shop", "new"), "stale", expected_version=1)
    assert await store.save(KEY, "c") == 3


async def check_no_update_is_lost(place: AsyncPlace) -> None:
    await opened(place)

    async def count() -> int:
        store, tries = await place.open(), 0
        for _ in range(5):
            while True:
                tries += 1
                found = await store.load(KEY)
                state, version = (found.state, found.version) if found else (0, 0)
                try:
                    await store.save(KEY, state + 1, expected_version=version)
                    break
                except VersionConflict:
                    continue
        return tries

    tries = await together([count] * 4)
    found = await (await place.open()).load(KEY)
    assert found is not None
    assert (found.state, found.version) == (20, 20), tries


async def check_times_are_the_databases(place: AsyncPlace) -> None:
    clock = FakeClock(minute(0))
    store = await opened(place, clock=clock)
    await store.save(KEY, 1)
    clock.advance("1h")
    await store.save(KEY, 2)
    found = await store.load(KEY)
    assert found is not None
    assert (found.created_at, found.updated_at) == (minute(0), minute(60))
    assert found.processing_duration.total_seconds() == 3600


async def check_another_type_is_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    await store.save(KEY, {"pages": 3})
    for wrong in (Progress, Position, list, int):
        with refused(place, UsageError, "pages"):
            await store.load(KEY, wrong)


async def check_states_that_would_be_altered_are_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    circle: list[Any] = []
    circle.append(circle)
    bad: list[Any] = [
        {"a": float("nan")},
        {"a": {1, 2}},
        {1: "a"},
        {"a": b"x"},
        {"a": DAY},
        object(),
        "\ud800",
        circle,
    ]
    for state in bad:
        with refused(place, UsageError):
            await store.save(KEY, state)


async def check_keys_that_are_none_are_refused(place: AsyncPlace) -> None:
    store = await opened(place)
    bad: list[Any] = [
        "",
        (),
        ("a", "b", "c", "d"),
        ("a", "", "c"),
        ("a\0", "b"),
        ("a", "x" * 10_000),
        ("a", "\ud800"),
        ("a", 7),
        7,
        None,
        {"a": 1},
    ]
    for key in bad:
        with refused(place, UsageError):
            await store.save(key, {})
        for read in (store.load, store.coverage, store.lag):
            with refused(place, UsageError):
                await read(key)
        with refused(place, UsageError):
            await store.seen(key, [1])


async def _flip(place: AsyncPlace, table: str, column: str, at: int, where: str = "1 = 1") -> bytes:
    """Change one bit of the one record there is; returns what it was."""
    ((record,),) = place.query(f"SELECT {column} FROM {table} WHERE {where}")  # noqa: S608 -- ours
    damaged = bytearray(record)
    damaged[at] ^= 0x10
    place.query(f"UPDATE {table} SET {column} = ? WHERE {where}", [bytes(damaged)])  # noqa: S608
    return bytes(record)


async def _each_bit(place: AsyncPlace, store: AsyncStore) -> None:
    where = "state IS NOT NULL"
    ((record,),) = place.query(f"SELECT state FROM belaypin_checkpoint WHERE {where}")  # noqa: S608
    for at in range(len(record)):
        kept = await _flip(place, "belaypin_checkpoint", "state", at, where)
        with refused(place, CorruptRecord, "shop"):
            await store.load(KEY)
        place.query("UPDATE belaypin_checkpoint SET state = ?", [kept])
    for length in range(len(record)):
        place.query("UPDATE belaypin_checkpoint SET state = ?", [bytes(record[:length])])
        with refused(place, CorruptRecord):
            await store.load(KEY)


async def check_a_damaged_state_is_named_and_never_decoded(place: AsyncPlace) -> None:
    store = await opened(place)
    await store.save(KEY, {"a": 1})
    await _each_bit(place, store)


async def check_a_damaged_result_is_named(place: AsyncPlace) -> None:
    store = await opened(place)
    async with store.once("op") as op:
        op.result = "x"
    await _flip(place, "belaypin_operation", "result", -1)
    with refused(place, CorruptRecord, "op"):
        async with store.once("op"):
            pass


async def check_a_damaged_segment_is_no_empty_one(place: AsyncPlace) -> None:
    store = await opened(place, clock=FakeClock(minute(60)))
    async with store.lease(*KEY[:2]) as lease:
        await mine(place, lease, Source(events(3)))
    await _flip(place, "belaypin_segment", "payload", -1)
    lease = store.lease(*KEY[:2])
    await lease.acquire()
    with refused(place, CorruptRecord, "segment"):
        await mine(place, lease, Source(events(3)), overlap="1h")
    with refused(place, CorruptRecord):
        await store.seen(KEY, [1])


@needs("stores")
async def check_a_newer_schema_is_left_alone(place: AsyncPlace) -> None:
    await opened(place)
    newer = "INSERT INTO belaypin_migration VALUES (9999, 'from the future', 'x', 1)"
    place.query(newer)
    with refused(place, SchemaTooNew, "future"):
        await place.open()
    place.query("DELETE FROM belaypin_migration WHERE version = 9999")
    place.query("UPDATE belaypin_migration SET checksum = 'x'")
    with refused(place, SchemaTooNew):
        await place.open()


@needs("stores")
async def check_opening_again_changes_nothing(place: AsyncPlace) -> None:
    store = await opened(place)
    await store.save(KEY, 1)
    before = place.dump()
    results = await together([place.open] * 4)
    assert not [error for error in results if isinstance(error, BaseException)], results
    assert place.dump() == before


@needs("stores")
async def check_many_may_open_at_first(place: AsyncPlace) -> None:
    results = await together([place.open] * 6)
    assert not [error for error in results if isinstance(error, BaseException)], results
    versions = [row[0] for row in place.query("SELECT version FROM belaypin_migration")]
    assert sorted(set(versions)) == sorted(versions)
    with raises(UsageError):
        await (await place.open()).load("")
