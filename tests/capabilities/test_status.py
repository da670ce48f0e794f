"""Status: the roll-up equals a count of the same rows by other code, whatever they hold."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import belaypin
from belaypin import Key
from tests.capabilities.sites import FixedClock, Site

NOW_US = FixedClock().us
TTL_US = 30_000_000
WINDOW = json.dumps(
    {"main": {"start_us": 0, "end_us": 9, "is_head": True, "covered_to_us": 0, "cursor": 1}}
)
COUNTS = ("items", "skipped", "changed", "late")
WORST_FIRST = (
    "quarantined",
    "failed",
    "interrupted",
    "waiting",
    "working",
    "open",
    "complete",
)

times = st.sampled_from([None, NOW_US - 5, NOW_US, NOW_US + 5])
stream_rows = st.fixed_dictionaries(
    {
        "items": st.integers(0, 9),
        "skipped": st.integers(0, 9),
        "changed": st.integers(0, 9),
        "late": st.integers(0, 9),
        "completed_us": st.sampled_from([None, None, NOW_US]),
        "progress": st.sampled_from(["{}", "{}", WINDOW]),
        "coverage": st.lists(st.integers(0, 40), max_size=6, unique=True).map(
            lambda ends: sorted(ends)[: len(ends) // 2 * 2]
        ),
    }
)
entity_rows = st.fixed_dictionaries(
    {
        "streams": st.dictionaries(st.sampled_from(["posts", "likes", "tags"]), stream_rows),
        "failed_us": times,
        "next_try_us": times,
        "quarantined_us": st.sampled_from([None, None, None, NOW_US - 1]),
        "completed_us": st.sampled_from([None, None, NOW_US]),
        "leases": st.lists(
            st.sampled_from([0, NOW_US - 1, NOW_US, NOW_US + TTL_US, NOW_US + 2 * TTL_US + 1]),
            max_size=2,
        ),
    }
)
stores = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2", "3", "4"])), entity_rows
)
Rows = dict[tuple[str, str], dict[str, Any]]


def fill(rows: Rows) -> list[str]:
    """The statements that put these rows there, and nothing else."""
    sql = [f"DELETE FROM belaypin_{t}" for t in ("checkpoint", "coverage", "lease")]
    key_id = 0
    for (pipeline, entity), row in rows.items():
        key_id += 1
        sql.append(
            "INSERT INTO belaypin_checkpoint (key_id, pipeline, entity, stream, failed_us, error,"
            " next_try_us, quarantined_us, completed_us, created_us, updated_us) VALUES"
            f" ({key_id}, '{pipeline}', '{entity}', '', {_sql(row['failed_us'])}, 'E: {entity}',"
            f" {_sql(row['next_try_us'])}, {_sql(row['quarantined_us'])},"
            f" {_sql(row['completed_us'])}, 1, 1)"
        )
        for number, expires_us in enumerate(row["leases"]):
            sql.append(
                "INSERT INTO belaypin_lease (key_id, role, owner, token, ttl_us, acquired_us,"
                " renewed_us, expires_us) VALUES"
                f" ({key_id}, 'role {number}', 'o', 1, {TTL_US}, 1, 1, {expires_us})"
            )
        for stream, one in row["streams"].items():
            key_id += 1
            counts = ", ".join(str(one[n]) for n in ("items", "skipped", "changed", "late"))
            sql.append(
                "INSERT INTO belaypin_checkpoint (key_id, pipeline, entity, stream, items, skipped,"
                " changed, late, completed_us, progress, is_open, created_us, updated_us) VALUES"
                f" ({key_id}, '{pipeline}', '{entity}', '{stream}', {counts},"
                f" {_sql(one['completed_us'])}, '{one['progress']}',"
                f" {int(one['progress'] != '{}')}, 1, 1)"
            )
            ends = one["coverage"]
            for start, end in zip(ends[::2], ends[1::2], strict=True):
                sql.append(f"INSERT INTO belaypin_coverage VALUES ({key_id}, 1, {start}, {end})")
    return sql


def _sql(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def recount(rows: Rows, key: Key) -> dict[str, Any]:
    """The status, worked out from the rows as the documentation says it."""
    counted = Recount(key)
    for (pipeline, entity), row in rows.items():
        if pipeline == key.pipeline and key.entity in ("", entity):
            counted.entity(Key(pipeline, entity), row)
    status = next((word for word in WORST_FIRST if counted.entities[word]), "absent")
    return {
        "status": next(iter(counted.streams), "absent") if key.stream else status,
        "entities": {} if key.entity else dict(counted.entities),
        "streams": dict(counted.streams),
        "head": min(counted.heads, default=None),
        **{n: counted.sums[n] for n in (*COUNTS, "open_windows", "gaps", "live_leases")},
    }


class Recount:
    """What has been counted at one key so far."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.entities: Counter[str] = Counter()
        self.streams: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()
        self.heads: list[tuple[int, Key]] = []

    def entity(self, key: Key, row: dict[str, Any]) -> None:
        live = sum(NOW_US < e <= NOW_US + 2 * TTL_US for e in row["leases"])
        begun_word = "interrupted"
        if row["failed_us"] is not None:
            is_later = row["next_try_us"] is not None and row["next_try_us"] > NOW_US
            begun_word = "waiting" if is_later else "failed"
        begun_word = "quarantined" if row["quarantined_us"] is not None else begun_word
        begun_word = "working" if live else begun_word
        words = []
        for stream, one in row["streams"].items():
            word = begun_word if one["progress"] != "{}" else "open"
            words.append("complete" if one["completed_us"] is not None else word)
            if self.key.stream in ("", stream):
                self.stream(key.child(stream), one, words[-1])
        self.sums["live_leases"] += live
        self.entities[_word(row, words, live, begun_word)] += 1

    def stream(self, key: Key, one: dict[str, Any], word: str) -> None:
        self.streams[word] += 1
        self.sums["open_windows"] += one["progress"] != "{}"
        self.sums.update({name: one[name] for name in COUNTS})
        if one["coverage"]:
            self.sums["gaps"] += len(one["coverage"]) // 2 - 1
            if one["completed_us"] is None:
                self.heads.append((one["coverage"][1], key))


def _word(row: dict[str, Any], words: list[str], live: int, begun_word: str) -> str:
    if row["quarantined_us"] is not None:
        return "quarantined"
    if live:
        return "working"
    if row["failed_us"] is not None:
        return begun_word
    if any(row["leases"]) or "interrupted" in words:
        return "interrupted"
    is_complete = words and set(words) == {"complete"}
    return "complete" if is_complete or row["completed_us"] is not None else "open"


def told(found: belaypin.Status) -> dict[str, Any]:
    """The same of the status itself."""
    head = None
    if found.lag is not None:
        head_us = NOW_US - round(found.lag.total_seconds() * 1_000_000)
        head = (head_us, found.lag_key)
    names = (*COUNTS, "status", "entities", "streams", "open_windows", "gaps", "live_leases")
    return {"head": head, **{name: getattr(found, name) for name in names}}


def keys(rows: Rows) -> list[Key]:
    found = {Key("a"), Key("b"), Key("a", "1"), Key("a", "1", "posts")}
    for (pipeline, entity), row in rows.items():
        found |= {Key(pipeline, entity)} | {Key(pipeline, entity, s) for s in row["streams"]}
    return sorted(found)


@pytest.fixture(scope="module")
def memory() -> Iterator[belaypin.Store]:
    with belaypin.open("sqlite:///:memory:", clock=FixedClock()) as store:
        yield store


@settings(suppress_health_check=list(HealthCheck))
@given(rows=stores)
def test_the_roll_up_equals_a_recount(memory: belaypin.Store, rows: Rows) -> None:
    for sql in fill(rows):
        memory.execute(sql)
    for key in keys(rows):
        assert told(memory.status(key)) == recount(rows, key), key


FIXED = {
    ("a", "1"): {
        "streams": {
            "posts": dict.fromkeys(COUNTS, 2)
            | {"completed_us": None, "progress": WINDOW, "coverage": [1, 3, 6, 9]},
            "likes": dict.fromkeys(COUNTS, 1)
            | {"completed_us": NOW_US, "progress": "{}", "coverage": [0, 1]},
        },
        **dict.fromkeys(("failed_us", "next_try_us", "quarantined_us", "completed_us")),
        "leases": [NOW_US - 1, 0],
    },
    ("a", "2"): {
        "streams": {},
        "failed_us": NOW_US - 5,
        "next_try_us": NOW_US + 5,
        "quarantined_us": None,
        "completed_us": None,
        "leases": [],
    },
}


@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["file", "postgres"])
async def test_every_database_rolls_up_alike(site: Site) -> None:
    store = await site.open(clock=FixedClock())
    given_ids = " OVERRIDING SYSTEM VALUE" if site.url.startswith("postgresql") else ""
    for sql in fill(FIXED):
        await store.execute(sql.replace("updated_us) VALUES", f"updated_us){given_ids} VALUES"))
    for key in keys(FIXED):
        assert told(await store.status(key)) == recount(FIXED, key), key
    found = await store.status("a")
    assert found.entities == {"interrupted": 1, "waiting": 1}
    assert (found.error, found.error_key) == ("E: 2", Key("a", "2"))
    assert json.loads(json.dumps(found.as_dict()))["status"] == "interrupted"
    assert "1 interrupted, 1 waiting" in str(found)
    assert (await store.status(("a", "nobody"))).status == "absent"


async def test_the_words_of_a_life(site: Site) -> None:
    """What an entity and its stream are called from the first lease to the last."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    key, stream = Key("a", "1"), Key("a", "1", "posts")

    async def words() -> tuple[str, str, str]:
        return tuple([(await store.status(k)).status for k in ("a", key, stream)])

    assert await words() == ("absent", "absent", "absent")
    lease = store.lease("a", "1")
    await lease.acquire()
    assert await words() == ("working", "working", "absent")
    async for window in lease.windows("posts", since="1d"):
        async for page in window.pages(lambda cursor: ([{"id": cursor or 0}], 1)):
            async with page.commit() as tx:
                await tx.fresh(page.items, key="id")
            break
        break
    assert await words() == ("working", "working", "working")
    clock.advance(31)
    assert await words() == ("interrupted", "interrupted", "interrupted")
    try:
        async with store.lease("a", "1", retry=belaypin.Retry(backoff="1m", jitter=0)):
            raise OSError("hung up")
    except OSError:
        assert await words() == ("waiting", "waiting", "waiting")
    clock.advance(61)
    assert await words() == ("failed", "failed", "failed")
    await store.readmit(key)
    async with store.lease("a", "1") as lease:
        async for window in lease.windows("posts", since="1d"):
            async for page in window.pages(lambda cursor: ([{"id": cursor or 0}], None)):
                async with page.commit() as tx:
                    await tx.fresh(page.items, key="id")
    assert await words() == ("open", "open", "open")
    found = await store.status(stream)
    assert (found.items, found.open_windows, found.attempts) == (2, 0, 0)
