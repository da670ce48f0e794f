"""The cache of item checks: whatever Redis does, the answers are those of the database."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import belaypin
from belaypin import MissingDriver, UsageError
from belaypin import cache as cache_module
from belaypin._async import checks as async_checks
from belaypin._sync import checks as sync_checks
from belaypin.cache import Facts, RedisTier, Seal
from belaypin.programs.facts import Proof, Standing
from tests.capabilities.fake_redis import MOODS, FakeRedis, Mood
from tests.capabilities.sites import Awaited, Site

KEY = ("shop", "user:7", "posts")
AT = "2024-01-01T00:00:00Z"
LOOSE_S = 30.0  # this machine may be busy; the bound itself is 50 ms


@pytest.fixture
def fake() -> Iterator[FakeRedis]:
    server = FakeRedis()
    yield server
    server.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is waited for, however busy this machine is."""
    for module in (cache_module, async_checks, sync_checks):
        monkeypatch.setattr(module, "WAIT_S", 10.0)
    monkeypatch.setattr(cache_module, "_PATIENCE_S", 5.0)


async def commit(store: Any, ids: list[Any], stream: str = "posts") -> None:
    async with (
        store.lease("shop", "user:7") as lease,
        lease.live(stream, at=lambda item: AT) as live,
        live.batch([{"id": i} for i in ids]).commit() as tx,
    ):
        await tx.fresh([{"id": i} for i in ids], key="id")


async def rewind(site: Site) -> None:
    await site.query("UPDATE belaypin_checkpoint SET generation = generation + 1")


async def until(condition: Any) -> None:
    """What is written to Redis arrives a little later."""
    patience = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < patience
        await asyncio.sleep(0.005)


# --- with a Redis that works ----------------------------------------------------------------------


async def test_the_answers_are_the_same_and_come_from_redis(
    site: Site, redis_url: str, patient: None
) -> None:
    store = await site.open(cache=redis_url)
    await commit(store, ["a", "b", 3])
    with redis.Redis.from_url(redis_url) as client:
        assert await store.seen(KEY, ["a", 3, "3", "c"]) == {"a", 3}
        await until(lambda: client.dbsize() == 2)
        names = list(client.scan_iter())
        assert all(0 < client.ttl(name) <= cache_module.TTL_S for name in names)
        assert not any(b"user" in name for name in names)
        before = client.info("stats")["keyspace_hits"]
        fresh = site if site.is_memory else Site(site.url, site.colour)
        again = await fresh.open(cache=redis_url)  # a new process knows nothing by itself
        assert await again.seen(KEY, ["a", 3, "3", "c"]) == {"a", 3}
        if not site.is_memory:
            assert client.info("stats")["keyspace_hits"] == before + 2
            await fresh.close()


async def test_what_one_process_commits_another_sees_at_once(site: Site, redis_url: str) -> None:
    # The article caches "not processed" for a day: done on one worker, undone on the others.
    one = await site.open(cache=redis_url)
    other = await site.open(cache=redis_url)
    assert await other.seen(KEY, [1, 2]) == set()
    for done in range(1, 4):
        await commit(one, [done])
        assert await other.seen(KEY, [1, 2, 3]) == {*range(1, done + 1)}


async def test_a_rewind_makes_every_cached_fact_void(site: Site, redis_url: str) -> None:
    # The article keeps positive entries after a reset: the items are skipped for ever.
    one = await site.open(cache=redis_url)
    other = await site.open(cache=redis_url)
    await commit(one, [1, 2])
    for store in (one, other, one):
        assert await store.seen(KEY, [1, 2]) == {1, 2}
    await rewind(site)
    assert await one.seen(KEY, [1, 2]) == set()
    await commit(one, [2])
    assert await other.seen(KEY, [1, 2]) == {2}
    assert await one.seen(KEY, [1, 2]) == {2}


async def test_a_dropped_segment_takes_its_cached_facts_along(site: Site, redis_url: str) -> None:
    store = await site.open(cache=redis_url)
    await commit(store, [1])
    await commit(store, [2])
    assert await store.seen(KEY, [1, 2]) == {1, 2}
    await site.query("DELETE FROM belaypin_segment WHERE seq = 1")
    assert await store.seen(KEY, [1, 2]) == {2}


async def test_a_transaction_of_ones_own_teaches_the_cache_nothing(
    site: Site, redis_url: str
) -> None:
    if site.is_memory or site.colour == "async":
        site = Site(
            site.url if not site.is_memory else f"sqlite:///{tempfile.mkdtemp()}/s.db", "sync"
        )
    store = await site.open(cache=redis_url)
    await commit(store, [1])
    with site.user() as connection:
        joined = store.joined(connection)
        async with (
            store.lease("shop", "user:7") as lease,
            lease.live("posts", at=lambda item: AT) as live,
        ):
            async with live.batch([{"id": 2}]).commit(joined) as tx:
                await tx.fresh([{"id": 2}], key="id")
            assert await joined.seen(KEY, [1, 2]) == {1, 2}
            connection.rollback()
    assert await store.seen(KEY, [1, 2]) == {1}
    await site.close()


async def test_streams_generations_and_kinds_of_id_do_not_mix(site: Site, redis_url: str) -> None:
    store = await site.open(cache=redis_url)
    await commit(store, [1, "x"])
    await commit(store, ["1", 2], "comments")
    other = ("shop", "user:7", "comments")
    for _ in range(2):
        assert await store.seen(KEY, [1, 2, "1", "x"]) == {1, "x"}
        assert await store.seen(other, [1, 2, "1", "x"]) == {2, "1"}


async def test_a_large_batch_goes_in_chunks(site: Site, redis_url: str) -> None:
    store = await site.open(cache=redis_url)
    await commit(store, list(range(0, 5_000, 2)))
    for _ in range(2):
        assert await store.seen(KEY, range(5_000)) == {*range(0, 5_000, 2)}


async def test_redis_is_killed_and_started_again(
    site: Site, pytestconfig: pytest.Config, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.services import fixtures
    from tests.services.redis_server import Redis

    server = pytestconfig.stash[fixtures._services].redis
    if not isinstance(server, Redis) or site.is_memory:
        return  # a server that was given to us is not ours to kill
    monkeypatch.setattr(cache_module, "PAUSE_S", 0.02)
    store = await site.open(cache=redis_url)
    await commit(store, [1, 2, 3])
    assert await store.seen(KEY, [1, 4]) == {1}
    server.kill9()
    try:
        for wanted in ([1, 4], [2, 4], [3, 4]):
            assert await store.seen(KEY, wanted) == {wanted[0]}
    finally:
        server.start()
    with redis.Redis.from_url(redis_url) as client:
        for tries in range(500):  # it is tried again in the background, and taught again
            await commit(store, [100 + tries])
            assert await store.seen(KEY, [100 + tries]) == {100 + tries}
            if client.dbsize():
                break
            await asyncio.sleep(0.01)
        assert client.dbsize()


# --- with one that does not -----------------------------------------------------------------------


@pytest.mark.parametrize("mood", [m for m in MOODS if m != "well"])
async def test_a_misbehaving_redis_costs_no_answer_and_little_time(
    tmp_path: Path, fake: FakeRedis, colour: Any, mood: Mood
) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", colour)
    store = await site.open(cache=fake.url)
    await commit(store, [*range(20)])
    fake.mood = mood
    began_s = time.monotonic()
    for first in range(0, 20, 2):
        assert await store.seen(KEY, [first, first + 1, first + 100]) == {first, first + 1}
    assert time.monotonic() - began_s < LOOSE_S
    await site.close()
    assert time.monotonic() - began_s < LOOSE_S + 2


async def test_a_hanging_redis_is_waited_for_once(tmp_path: Path, fake: FakeRedis) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", "sync")
    store = await site.open(cache=fake.url)
    await commit(store, [1])
    fake.mood = "hanging"
    heard, began_s = fake.heard, time.monotonic()
    for n in range(100):
        await store.seen(KEY, [n])
    pauses = (time.monotonic() - began_s) / cache_module.PAUSE_S
    assert fake.heard - heard <= 1 + 2 * pauses
    await site.close()


async def test_a_full_redis_is_still_read(tmp_path: Path, fake: FakeRedis, patient: None) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", "sync")
    store = await site.open(cache=fake.url)
    await commit(store, [1, 2])
    assert await store.seen(KEY, [1]) == {1}
    await until(lambda: fake.facts)
    fake.mood = "full"
    other = await site.open(cache=fake.url)
    gets = fake.gets
    assert await other.seen(KEY, [1, 2]) == {1, 2}
    assert await other.seen(KEY, [1, 2, 3]) == {1, 2}
    assert fake.gets > gets
    assert len(fake.facts) == 1
    await site.close()


async def test_nobody_there_at_the_start_is_no_error(tmp_path: Path) -> None:
    site = Site(f"sqlite:///{tmp_path}/store.db", "sync")
    for url in (
        "redis://127.0.0.1:1/0",
        f"unix://{tmp_path}/none",
        "redis://no.such.host.invalid/0",
    ):
        store = await site.open(cache=url)
        await commit(store, [1])
        assert await store.seen(KEY, [1, 2]) == {1}
    await site.close()


def test_a_url_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("localhost", "http://x", "redis://x:port/0", "", 7):
        with pytest.raises(UsageError, match="redis://"):
            belaypin.open(f"sqlite:///{tmp_path}/store.db", cache=url)  # type: ignore[arg-type]
    monkeypatch.setattr(cache_module, "find_spec", lambda name: None)
    with pytest.raises(MissingDriver, match=r"belaypin\[redis\]"):
        belaypin.open(f"sqlite:///{tmp_path}/store.db", cache="redis://localhost/0")


# --- one read for many ----------------------------------------------------------------------------


def test_many_threads_that_ask_the_same_share_a_read(
    tmp_path: Path, fake: FakeRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_checks, "_FLIGHT_S", 30.0)
    with belaypin.open(f"sqlite:///{tmp_path}/store.db", cache=fake.url) as store:
        asyncio.run(commit(Awaited(store), [1, 2]))
        run, reads, gate = store._checks._run, [], threading.Event()  # type: ignore[union-attr]

        def slow(program: Any, *, write: bool = True) -> Any:
            if program.__name__ == "find":
                reads.append(1)
                gate.wait(10)
            return run(program, write=write)

        store._checks._run = slow  # type: ignore[union-attr]
        take, asking = store._checks._flights.take, []  # type: ignore[union-attr]

        def counted(*args: Any) -> Any:
            asking.append(1)
            return take(*args)

        store._checks._flights.take = counted  # type: ignore[union-attr,method-assign]
        answers: list[Any] = []
        ask = lambda: answers.append(store.seen(KEY, [1, 3]))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        patience = time.monotonic() + 10
        while len(asking) < len(threads):
            assert time.monotonic() < patience
            time.sleep(0.01)
        time.sleep(0.2)
        gate.set()
        for thread in threads:
            thread.join()
        assert answers == [{1}] * 12
        assert len(reads) == 2  # the first, and one for all who came while it ran


async def test_a_reader_that_is_cancelled_leaves_the_others_alone(
    tmp_path: Path, fake: FakeRedis
) -> None:
    async with await belaypin.aopen(f"sqlite:///{tmp_path}/store.db", cache=fake.url) as store:
        await commit(store, [1])
        tasks = [asyncio.create_task(store.seen(KEY, [1, 2])) for _ in range(8)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(f, asyncio.CancelledError) or f == {1} for f in found)
        assert [f for f in found[1::2] if f != {1}] == []
        assert await store.seen(KEY, [1, 2]) == {1}
        assert not store._checks._flights._running  # type: ignore[union-attr]
        assert not store._checks._flights._waiting  # type: ignore[union-attr]


# --- the parts ------------------------------------------------------------------------------------


def test_a_seal_holds_for_its_own_fact_only() -> None:
    seal, here, proof = Seal("epoch", "ab" * 16), Standing(1, 1), Proof(3, 4, 5)
    sealed = seal.seal(here, "a", proof)
    assert seal.unseal(here, "a", sealed) == proof
    answers: list[object] = [b"", b"x", None, 7, "text", sealed[:-1], sealed + b"\0"]
    for changed in answers:
        assert seal.unseal(here, "a", changed) is None
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert seal.unseal(here, "a", bytes(flipped)) is None
    elsewhere: list[tuple[Standing, str | int]] = [
        (Standing(2, 1), "a"),
        (Standing(1, 2), "a"),
        (here, "b"),
        (here, 97),
    ]
    for standing, item_id in elsewhere:
        assert seal.unseal(standing, item_id, sealed) is None
        assert seal.names(standing, [item_id]) != seal.names(here, ["a"])
    for other in (Seal("other", "ab" * 16), Seal("epoch", "cd" * 16)):
        assert other.unseal(here, "a", sealed) is None
        assert other.names(here, ["a"]) != seal.names(here, ["a"])


def test_memory_is_bounded_and_keeps_what_was_used_last() -> None:
    facts, here, proof = Facts(100), Standing(1, 1), Proof(1, 1, 1)
    for first in range(0, 1_000, 50):
        facts.put(here, dict.fromkeys([0, *range(first, first + 50)], proof))
        assert len(facts) <= 100
    assert facts.get(here, [0, 1, 999]) == {0: proof, 999: proof}
    facts.put(here, dict.fromkeys(range(10_000), proof))
    assert len(facts) == 100


def test_no_thread_and_no_connection_is_left(fake: FakeRedis) -> None:
    moods: tuple[Mood, ...] = ("well", "dripping")
    for mood in moods:
        fake.mood = mood
        tier = RedisTier(fake.url)
        asked = tier.get([b"a"])
        assert asked is not None
        time.sleep(0.05)
        tier.close()
        for thread in threading.enumerate():
            if thread.name == "belaypin-cache":  # close() waits a second for it, no longer
                thread.join(LOOSE_S)
                assert not thread.is_alive()
        assert tier.get([b"a"]) is None


# --- any order of everything ----------------------------------------------------------------------


class Interleavings(RuleBasedStateMachine):
    """Two stores with a cache and one without: they must agree, whatever happens in between."""

    IDS = st.lists(st.integers(0, 12), min_size=1, max_size=5, unique=True)

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="belaypin-cache-"))
        self.url = f"sqlite:///{self.folder}/store.db"
        self.fake = FakeRedis()
        self.cached = [belaypin.open(self.url, cache=self.fake.url) for _ in range(2)]
        self.plain = belaypin.open(self.url)
        self.backup()

    @rule(ids=IDS, which=st.integers(0, 1))
    def commit(self, ids: list[int], which: int) -> None:
        asyncio.run(commit(Awaited(self.cached[which]), ids))

    @rule()
    def rewind(self) -> None:
        self.plain.execute("UPDATE belaypin_checkpoint SET generation = generation + 1")

    @rule()
    def backup(self) -> None:
        self._copy("store.db", "backup.db")

    @rule()
    def restore(self) -> None:
        self._copy("backup.db", "store.db")

    @rule(first=st.booleans())
    def drop(self, first: bool) -> None:
        ends = "SELECT MIN(seq) FROM belaypin_segment", "SELECT MAX(seq) FROM belaypin_segment"
        self.plain.execute(f"DELETE FROM belaypin_segment WHERE seq = ({ends[first]})")

    @rule()
    def flush(self) -> None:
        self.fake.facts.clear()

    @rule(mood=st.sampled_from([m for m in MOODS if m not in ("hanging", "dripping", "slow")]))
    def change_mood(self, mood: Mood) -> None:
        self.fake.mood = mood

    @rule()
    def recover(self) -> None:
        self.fake.mood = "well"
        for store in self.cached:
            tier = store._checks._cache.redis  # type: ignore[union-attr]
            tier._is_trusted, tier._debt_s, tier._write_again_s = True, 0.0, 0.0

    @rule()
    def forget(self) -> None:
        for store in self.cached:
            store._checks._cache._facts = Facts()  # type: ignore[union-attr]

    @rule(ids=IDS)
    def check(self, ids: list[int]) -> None:
        truth = self.plain.seen(KEY, ids)
        assert [store.seen(KEY, ids) for store in self.cached] == [truth, truth]

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "plain"):
            self.check(list(range(13)))

    def teardown(self) -> None:
        if hasattr(self, "plain"):
            for store in (*self.cached, self.plain):
                store.close()
            self.fake.close()
            shutil.rmtree(self.folder)

    def _copy(self, source: str, target: str) -> None:
        paths = self.folder / source, self.folder / target
        with closing(sqlite3.connect(paths[0])) as one, closing(sqlite3.connect(paths[1])) as two:
            one.backup(two)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
