"""health: each figure against a run whose pages, items and clock were counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import belaypin
from belaypin.catalog import Catalog
from belaypin.program import Statement
from belaypin.programs.scope import Scope
from tests.upkeep.conftest import FakeClock
from tests.upkeep.pipelines import change, healthy, mine, one, put_aside

Store = belaypin.Store
S = timedelta(seconds=1)


def test_an_empty_store(store: Store) -> None:
    health = store.health()
    assert (health.keys, health.lag, health.lag_key, health.lag_p99) == (0, None, None, None)
    assert (health.efficiency, health.compression_ratio) == (None, None)
    assert (health.orphans, health.stored_bytes, health.recovery) == (0, 0, timedelta(0))
    assert str(health)


def test_efficiency_is_what_was_processed_of_what_was_fetched(clocked: Store) -> None:
    mine(clocked, pages=10, per_page=5)
    assert clocked.health().efficiency == 1
    mine(clocked, pages=12, per_page=5)  # 50 again, 10 new
    health = clocked.health()
    assert (health.items, health.skipped, health.changed) == (60, 50, 0)
    assert health.efficiency == 60 / 110
    for _ in range(3):  # a source that is stuck makes it worse, never better
        mine(clocked, pages=12, per_page=5)
    assert clocked.health().efficiency == 60 / 290


def test_changed_content_counts_as_processed(clocked: Store) -> None:
    mine(clocked, pages=2, per_page=5, edition="first")
    mine(clocked, pages=2, per_page=5, edition="second")
    mine(clocked, pages=2, per_page=5, edition="second")
    health = clocked.health()
    assert (health.items, health.changed, health.skipped) == (10, 10, 10)
    assert health.efficiency == 20 / 30


def test_lag_is_that_of_each_streams_head(clocked: Store, clock: FakeClock) -> None:
    for number in range(200):  # one a second
        mine(clocked, f"user:{number:03}", pages=1)
        clock.pass_s(1)
    health = clocked.health()
    key = belaypin.Key("social", "user:000", "posts")
    assert (health.lag, health.lag_key) == (200 * S, key)
    assert health.lag == clocked.lag(key)
    # Ranks 100, 180 and 198 of the lags 1 s, 2 s ... 200 s.
    assert (health.lag_p50, health.lag_p90, health.lag_p99) == (100 * S, 180 * S, 198 * S)


def test_a_gap_counts_as_lag_and_a_complete_stream_does_not(
    clocked: Store, clock: FakeClock
) -> None:
    mine(clocked, "user:1", pages=1)
    clock.pass_s(60)
    mine(clocked, "user:2", pages=1)
    change(clocked, "UPDATE belaypin_checkpoint SET completed_us = 1 WHERE entity = 'user:1'")
    health = clocked.health()
    assert (health.lag, health.lag_p50, health.lag_p99) == (timedelta(0),) * 3
    head_us = one(clocked, "SELECT MIN(start_us) FROM belaypin_coverage")
    change(
        clocked,
        "UPDATE belaypin_coverage SET end_us = ? WHERE end_us = ?",
        [clock.us - 500_000_000, clock.us],
    )
    change(
        clocked,
        "INSERT INTO belaypin_coverage SELECT key_id, 1, ?, ? FROM belaypin_checkpoint "
        "WHERE entity = 'user:2' AND stream = 'posts'",
        [clock.us - 100_000_000, clock.us],
    )
    assert head_us < clock.us
    assert clocked.health().lag == 500 * S


def test_gaps_are_counted_of_all_streams(clocked: Store, clock: FakeClock) -> None:
    mine(clocked, "user:1", pages=1)
    mine(clocked, "user:2", pages=1)
    assert clocked.health().gaps == 0
    change(
        clocked,
        "INSERT INTO belaypin_coverage SELECT key_id, 1, ?, ? FROM belaypin_checkpoint "
        "WHERE stream = 'posts'",
        [clock.us + 100_000_000, clock.us + 200_000_000],
    )
    assert clocked.health().gaps == len(clocked.gap_list()) == 2
    change(clocked, "UPDATE belaypin_checkpoint SET completed_us = 1 WHERE stream = 'posts'")
    health = clocked.health()
    assert (health.gaps, health.lag, health.lag_key) == (2, None, None)


def test_what_failed_is_counted(clocked: Store) -> None:
    for entity in ("user:1", "user:2"):
        mine(clocked, entity, pages=1)
        put_aside(clocked, entity)
    (first, _) = clocked.failures("social")
    clocked.quarantine(first.key, first.item_id, "looks odd")
    with pytest.raises(ZeroDivisionError), clocked.lease("social", "user:1"):
        raise ZeroDivisionError
    health = clocked.health()
    assert (health.failures, health.quarantined) == (1, 1)
    assert (health.failed_entities, health.quarantined_entities) == (1, 0)
    with clocked.lease("social", "user:1"):
        pass
    assert clocked.health().failed_entities == 0
    assert clocked.health(pipeline="shop").failures == 0


def test_orphans_are_work_that_nobody_is_at(clocked: Store, clock: FakeClock) -> None:
    mine(clocked, "user:1", pages=6, stop_after=3)  # left with a window open, its lease released
    assert clocked.health().interrupted_windows == 1
    with clocked.lease("social", "user:1", ttl_s=3600):
        health = clocked.health()
        assert (health.open_windows, health.interrupted_windows) == (1, 0)
        assert (health.orphans, health.live_leases) == (0, 1)
    op = clocked.once("invoice:1", ttl_s=3600)
    assert op.__enter__()
    health = clocked.health()
    assert (health.running_operations, health.abandoned_operations, health.orphans) == (1, 0, 1)
    change(clocked, "UPDATE belaypin_operation SET expires_us = ?", [clock.us - 1])
    health = clocked.health()
    assert (health.running_operations, health.abandoned_operations, health.orphans) == (0, 1, 2)
    error = ValueError("no")
    op.__exit__(ValueError, error, None)
    assert clocked.health().failed_operations == 1
    mine(clocked, "user:1", pages=6)
    assert clocked.health().orphans == 0


def test_recovery_is_from_the_last_commit_until_the_lease_can_be_taken(
    clocked: Store, clock: FakeClock
) -> None:
    def fetch(cursor: int | None) -> tuple[list[dict[str, int]], int]:
        return [{"id": cursor or 0}], (cursor or 0) + 1

    with clocked.lease("social", "user:7", ttl_s=3600) as lease:
        assert clocked.health().recovery == 3600 * S  # nothing since the lease was taken
        clock.pass_s(10)
        for window in lease.windows("posts", since="30d"):
            for page in window.pages(fetch):
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")
                break
            break
        # 3590 s until the lease ends, nothing to be done again.
        assert clocked.health().recovery == 3590 * S
        clock.pass_s(20)
        # 3570 s until it ends, and 20 s of work to be done again.
        assert clocked.health().recovery == 3590 * S
        assert clocked.health(pipeline="shop").recovery == timedelta(0)
    assert clocked.health().recovery == timedelta(0)


def test_storage_is_the_bytes_of_the_payloads(store: Store) -> None:
    healthy(store)
    health = store.health()

    def total(column: str, table: str) -> int:
        rows = store.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL").rows
        return sum(len(value) if isinstance(value, bytes) else value for (value,) in rows)

    assert health.ledger_bytes == total("payload", "belaypin_segment")
    assert health.ledger_raw_bytes == total("raw_bytes", "belaypin_segment")
    assert health.state_bytes == total("state", "belaypin_checkpoint")
    assert health.result_bytes == total("result", "belaypin_operation")
    assert health.stored_bytes == health.ledger_bytes + health.state_bytes + health.result_bytes
    assert health.compression_ratio == health.ledger_raw_bytes / health.ledger_bytes


def test_a_pipeline_has_its_own_figures(url: str, call: Callable[..., Any]) -> None:
    with belaypin.open(url) as store:
        healthy(store)
        mine(store, "till:9", pages=3, pipeline="shop")
    shop, all_ = call(url, "health", pipeline="shop"), call(url, "health")
    assert (shop.keys, shop.streams, shop.items, shop.result_bytes) == (4, 1, 15, 0)
    assert shop.lag_key == belaypin.Key("shop", "till:9", "posts")
    assert (all_.keys, all_.streams) == (14, 6)
    assert all_.items == (12 + 7 + 9 + 3) * 5 + 15
    assert call(url, "health", pipeline="nothing").keys == 0
    with pytest.raises(belaypin.UsageError):
        call(url, "health", pipeline="")


def test_figures_are_text_and_json(store: Store) -> None:
    healthy(store)
    figures = json.loads(json.dumps(store.health().as_dict()))
    assert figures["lag"] >= 0
    assert figures["lag_key"]["stream"] == "posts"
    assert {"efficiency", "orphans", "stored_bytes", "compression_ratio"} <= figures.keys()
    assert "efficiency: " in str(store.health())


# --- plans --------------------------------------------------------------------------------------

BY_INDEX = [
    "health.heads",
    "health.ledger",
    "health.leases",
    "health.quarantined",
    "health.windows",
]
BY_INDEX.append("explain.holding")
VERIFY = ["keys", "coverage", "leases", "short_ledgers", "segments", "operations"]
VERIFY = [f"upkeep.{name}" for name in VERIFY]
PARAMS = {
    "short_seq": 8,
    "short_items": 500,
    **Scope.of("social", None).params(),
    "key_id": 1,
    "after_seq": 0,
    "limit": 9,
    "inline_bytes": 9,
    "after": "",
    "id_key": b"s",
}


@pytest.mark.parametrize("name", [*BY_INDEX, *VERIFY, "health.keys"])
def test_sqlite_finds_the_rows_by_index(name: str) -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        healthy(store)
        sql, _ = Catalog("sqlite").bind(Statement(name, PARAMS))
        plan = [row[3] for row in store.execute(f"EXPLAIN QUERY PLAN {sql}", PARAMS).rows]
    scanned = {step.split()[1] for step in plan if step.startswith("SCAN")}
    in_memory = {"heads", "held", "lasting", "page", "ranked"}
    assert {name for name in scanned if not name.startswith("(subquery")} <= in_memory
    searched = [step for step in plan if step.startswith("SEARCH")]
    assert searched
    assert all("INDEX" in step or "PRIMARY KEY" in step for step in searched)


@pytest.mark.parametrize("name", [*BY_INDEX, *VERIFY, "health.keys"])
def test_postgres_can_find_the_rows_by_index(name: str, postgres_url: str) -> None:
    import psycopg

    with belaypin.open(postgres_url) as store:
        healthy(store)
    sql, params = Catalog("postgres", "pyformat").bind(Statement(name, PARAMS))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SET enable_seqscan = off")  # which small tables prefer
        plan = "\n".join(r[0] for r in connection.execute(f"EXPLAIN {sql}", params))
    assert "Seq Scan on belaypin" not in plan
    assert "Index" in plan
