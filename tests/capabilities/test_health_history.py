"""record_health: at most one sample for each interval of time, whoever asks; read back as it was."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

import belaypin
from belaypin import CorruptRecord, Health, UsageError
from tests.capabilities.sites import FixedClock, Site
from tests.capabilities.test_horizon import at, item, mine


async def test_a_sample_is_what_health_says(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    await mine(store, [item("a", -1), item("b", -0.5)])
    await mine(store, [item("a", -1), item("c", -0.2)])
    clock.advance(90)
    health = await store.health()
    assert (health.items, health.skipped, health.lag_key.stream) == (3, 1, "posts")
    assert await store.record_health() == health
    assert await store.health_history() == [health]
    shop = await store.record_health(pipeline="shop")
    assert shop.pipeline == "shop"
    assert await store.health_history(pipeline="shop") == [shop]
    assert await store.health_history(pipeline="other") == []


async def test_at_most_one_for_each_interval(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    taken = []
    for _ in range(30):
        taken.append(await store.record_health(every="5m"))
        clock.advance(60)
    kept = [health for health in taken if isinstance(health, Health)]
    assert [health.at for health in kept] == [at(0) + timedelta(minutes=5 * n) for n in range(6)]
    assert await store.health_history() == kept
    assert await store.record_health(pipeline="shop", every="5m")  # a pipeline has its own


async def test_a_span_of_time_oldest_first(site: Site) -> None:
    clock = FixedClock()
    store = await site.open(clock=clock)
    taken = []
    for _ in range(6):
        taken.append(await store.record_health())
        clock.advance(60)
    assert await store.health_history("3m") == taken[3:]
    assert await store.health_history(taken[1].at, taken[4].at) == taken[1:4]
    first = await store.health_history(limit=2)
    assert first == taken[:2]
    rest = await store.health_history(first[-1].at + timedelta(microseconds=1), limit=2)
    assert rest == taken[2:4]


async def test_figures_of_another_version_can_be_read(site: Site) -> None:
    """A newer one has figures that we don't know, an older one lacks some."""
    clock = FixedClock()
    store = await site.open(clock=clock)
    await site.query(
        "INSERT INTO belaypin_health VALUES ('', 5, 5, "
        '\'{"at":"2024-01-01T00:00:00Z","items":7,"news":[1]}\')'
    )
    (found,) = await store.health_history("beginning")
    assert (found.items, found.skipped, found.at) == (7, 0, at(0))
    await site.query("UPDATE belaypin_health SET figures = '{'")
    with pytest.raises(CorruptRecord, match="belaypin_health"):
        await store.health_history("beginning")


async def test_what_makes_no_sense_is_refused(site: Site) -> None:
    store = await site.open()
    for options in ({"every": 0}, {"every": "often"}, {"pipeline": ""}):
        with pytest.raises(UsageError):
            await store.record_health(**options)
    for wrong in ({"since": "x"}, {"limit": 0}, {"pipeline": ""}):
        with pytest.raises(UsageError):
            await store.health_history(**wrong)


@pytest.mark.parametrize("colour", ["sync"])
@pytest.mark.parametrize("database", ["file", "postgres"])
def test_of_many_processes_one_is_first(colour: str, database: str, site: Site) -> None:
    """All of them look, none sees a sample, and all want to keep theirs."""
    clock = FixedClock()
    barrier = threading.Barrier(4, timeout=20)
    kept: list[Any] = []

    def work() -> None:
        with belaypin.open(site.url, clock=clock) as store:
            reading = store.health

            def all_at_once(**options: Any) -> Health:
                health = reading(**options)
                barrier.wait()
                return health

            store.health = all_at_once  # type: ignore[method-assign]
            kept.append(store.record_health())

    with belaypin.open(site.url, clock=clock) as store:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(kept) == 4
        assert [health for health in kept if health is not None] == store.health_history()
        assert len(store.health_history()) == 1


def test_what_a_sample_costs() -> None:
    """The bytes that the docs name, for a store where no figure is 0."""
    import msgspec

    lag = timedelta(days=1.5)
    figures: dict[str, Any] = dict.fromkeys(Health.__struct_fields__, 123_456_789)
    figures |= dict.fromkeys(("lag", "lag_p50", "lag_p90", "lag_p99", "recovery"), lag)
    figures["lag_key"] = belaypin.Key("social", "user:123456", "posts")
    health = Health(**figures | {"at": at(0), "pipeline": "social"})
    assert 500 < len(msgspec.json.encode(health)) < 1000
