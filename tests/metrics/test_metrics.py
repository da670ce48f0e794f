"""Metrics: what a scrape says of a store that is well, busy, slow, down or full of odd names."""

from __future__ import annotations

import gc
import json
import re
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as plain_text

import belaypin
from belaypin import metrics

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAMES = {metric.name for metric in (*metrics.OWN_METRICS, *metrics.METRICS)}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

open_metrics: Any = openmetrics_parser.text_string_to_metric_families

Figures = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/app.db"


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as opened:
        yield opened


def mine(
    store: belaypin.Store, pipeline: str, entity: str, pages: int = 2, leave: int | None = None
) -> None:
    def fetch(cursor: int | None) -> tuple[list[dict[str, int]], int | None]:
        page = cursor or 0
        return [{"id": page * 5 + n} for n in range(5)], page + 1 if page + 1 < pages else None

    with store.lease(pipeline, entity) as lease:
        for window in lease.windows("posts", since="30d", overlap="1h"):
            for number, page in enumerate(window.pages(fetch)):
                if number == leave:
                    return
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")


def figures(body: bytes) -> Figures:
    """Each figure by its name and the values of its labels, in order of the labels' names."""
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in plain_text(body.decode())
        for sample in family.samples
    }


def scrape(store: belaypin.Store) -> Figures:
    """What a fresh sample says."""
    return figures(metrics.Exporter(store, timeout_s=60).exposition()[0])


def test_an_empty_store(store: belaypin.Store) -> None:
    found = scrape(store)
    assert found["belaypin_up", ()] == 1
    assert found["belaypin_pipelines", ()] == 0
    assert found["belaypin_operations", ("failed",)] == 0
    assert not any(name == "belaypin_lag_seconds" for name, _ in found)


def test_figures_are_those_of_health(store: belaypin.Store) -> None:
    mine(store, "social", "user:1")
    mine(store, "social", "user:1")
    mine(store, "social", "user:2", leave=1)
    mine(store, "shop", "till:1", pages=3)
    with store.lease("shop", "till:1"), store.once("invoice:1", ttl_s=3600):
        found = scrape(store)
        whole = store.health()
    social, shop = (store.health(pipeline=name) for name in ("social", "shop"))
    assert found["belaypin_pipelines", ()] == 2
    assert found["belaypin_streams", ("social",)] == social.streams == 2
    assert found["belaypin_items_total", ("new", "social")] == social.items == 15
    assert found["belaypin_items_total", ("skipped", "social")] == social.skipped == 10
    assert found["belaypin_items_total", ("new", "shop")] == 15
    assert found["belaypin_windows", ("social", "interrupted")] == 1
    assert found["belaypin_windows", ("social", "open")] == 0
    assert found["belaypin_live_leases", ("shop",)] == 1
    assert found["belaypin_operations", ("running",)] == whole.running_operations == 1
    assert found["belaypin_payload_bytes", ("ledger", "shop")] == shop.ledger_bytes
    assert found["belaypin_ledger_raw_bytes", ("shop",)] == shop.ledger_raw_bytes
    assert found["belaypin_recovery_estimate_seconds", ("shop",)] > 20
    assert shop.lag is not None
    assert 0 <= found["belaypin_lag_seconds", ("shop",)] <= shop.lag.total_seconds() + 1
    assert found["belaypin_lag_quantile_seconds", ("shop", "0.5")] >= 0


def test_what_failed_and_what_is_missing(store: belaypin.Store) -> None:
    mine(store, "social", "user:1")
    store.quarantine(("social", "user:1", "posts"), 99, "odd")
    with pytest.raises(ZeroDivisionError), store.lease("social", "user:2"):
        raise ZeroDivisionError
    moved = "INSERT INTO belaypin_coverage SELECT key_id, generation, 9000000000000000, 9000000000000001 "
    store.execute(moved + "FROM belaypin_checkpoint WHERE stream = 'posts'")
    found = scrape(store)
    assert found["belaypin_failed_items", ("social", "quarantined")] == 1
    assert found["belaypin_failed_items", ("social", "waiting")] == 0
    assert found["belaypin_failed_entities", ("social", "failed")] == 1
    assert found["belaypin_gaps", ("social",)] == len(store.gap_list()) >= 1


def test_how_much_is_named_is_bounded(store: belaypin.Store) -> None:
    for number in range(6):
        mine(store, f"p{number}", "a", pages=1)
        mine(store, f"p{number}", "b", pages=1)
    exporter = metrics.Exporter(store, timeout_s=60, pipelines=2, worst=3)
    found = figures(exporter.exposition()[0])
    assert {labels[-1] for name, labels in found if name == "belaypin_streams"} == {"p0", "p1"}
    assert found["belaypin_pipelines", ()] == 6
    assert sum(name == "belaypin_stream_lag_seconds" for name, _ in found) == 3
    none = figures(metrics.Exporter(store, timeout_s=60, worst=0).exposition()[0])
    assert not any(name == "belaypin_stream_lag_seconds" for name, _ in none)


def test_names_are_text_whatever_they_hold(store: belaypin.Store) -> None:
    odd = 'a"b\\c\n{d="e"} 1\n# EOF'
    mine(store, odd, odd, pages=1)
    exporter = metrics.Exporter(store, timeout_s=60)
    assert figures(exporter.exposition()[0])["belaypin_streams", (odd,)] == 1
    body, _ = exporter.exposition(OPENMETRICS)
    (family,) = [f for f in open_metrics(body.decode()) if f.name == "belaypin_streams"]
    assert [sample.labels for sample in family.samples] == [{"pipeline": odd}]


def test_the_format_is_the_one_that_was_asked_for() -> None:
    with belaypin.open("sqlite:///:memory:") as store:
        mine(store, "social", "user:1")
        store.record_drill("social", kills=9, recovery_p50="1s", recovery_p99="2s")
        exporter = metrics.Exporter(store, timeout_s=60)
        body, content_type = exporter.exposition(OPENMETRICS)
        assert content_type.startswith(OPENMETRICS)
        assert body.endswith(b"# EOF\n")
        assert b"# UNIT belaypin_lag_seconds seconds\n" in body
        found = {sample.name for f in open_metrics(body.decode()) for sample in f.samples}
        assert found == NAMES
        plain, content_type = exporter.exposition()
        assert content_type.startswith("text/plain; version=0.0.4")
        assert {name for name, _ in figures(plain)} == NAMES


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    for metric in (*metrics.OWN_METRICS, *metrics.METRICS):
        assert re.fullmatch(r"belaypin(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") is (metric.kind == "counter")
        assert not re.search(r"(?<!\w)(ms|us|kb|mb|percent|minutes|hours|days)$", metric.name)
        assert metric.help.endswith(".")
        assert set(metric.labels) <= {
            "pipeline",
            "entity",
            "stream",
            "outcome",
            "state",
            "kind",
        } | {"quantile"}


def test_every_metric_is_explained() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", ["belaypin.json", "alerts.yml"])
def test_dashboard_and_alerts_use_metrics_that_exist(name: str) -> None:
    text = (DOCS / "grafana" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        panels = json.loads(text)["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        used = {e for p in panels for t in p["targets"] for e in _metrics(t["expr"])}
    else:
        used = {
            e for line in text.splitlines() if "description" not in line for e in _metrics(line)
        }
    assert used <= NAMES
    assert {"belaypin_lag_seconds", "belaypin_gaps", "belaypin_failed_items"} <= used
    assert {"belaypin_windows", "belaypin_operations", "belaypin_up"} <= used


def _metrics(expression: str) -> list[str]:
    return re.findall(r"\bbelaypin_\w+", expression)


def test_a_registry_of_the_users_takes_it_without_a_look_at_the_store(
    store: belaypin.Store,
) -> None:
    registry = CollectorRegistry(auto_describe=True)
    store.close()
    registry.register(metrics.Exporter(store))
    with pytest.raises(ValueError, match="belaypin_up"):
        registry.register(metrics.Exporter(store))
    assert figures(generate_latest(registry)) == {("belaypin_up", ()): 0}


def test_a_store_that_is_down_is_told_and_the_last_sample_stays(store: belaypin.Store) -> None:
    mine(store, "social", "user:1")
    exporter = metrics.Exporter(store, timeout_s=60, max_age_s=0)
    before = figures(exporter.exposition()[0])
    store.close()
    after = figures(exporter.exposition()[0])
    assert (before["belaypin_up", ()], after["belaypin_up", ()]) == (1, 0)
    own = {metric.name for metric in metrics.OWN_METRICS}
    assert all(after[key] == value for key, value in before.items() if key[0] not in own)
    assert after["belaypin_sample_age_seconds", ()] > 0


def test_a_store_that_never_answered_is_only_down(store: belaypin.Store) -> None:
    store.close()
    assert scrape(store) == {("belaypin_up", ()): 0}


def test_a_scrape_does_not_wait_for_a_store_that_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with belaypin.open(f"sqlite:///{path}") as store, closing(sqlite3.connect(path)) as other:
        mine(store, "social", "user:1")
        exporter = metrics.Exporter(store, timeout_s=0.2, max_age_s=0)
        deadline_s = monotonic() + 60
        while b"belaypin_items_total" not in exporter.exposition()[0]:
            assert monotonic() < deadline_s
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        began_s = monotonic()
        scrapes = [figures(exporter.exposition()[0]) for _ in range(3)]
        assert monotonic() - began_s < 5
        assert all(found["belaypin_items_total", ("new", "social")] == 10 for found in scrapes)
        other.rollback()


def test_however_many_scrape_the_store_is_read_now_and_then(store: belaypin.Store) -> None:
    mine(store, "social", "user:1")
    exporter = metrics.Exporter(store, timeout_s=60, max_age_s=3600)
    ages: list[float] = []

    def scrape_often() -> None:
        scrapes = (figures(exporter.exposition()[0]) for _ in range(20))
        ages.extend(found["belaypin_sample_age_seconds", ()] for found in scrapes)

    threads = [threading.Thread(target=scrape_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mine(store, "social", "user:2")
    after = figures(exporter.exposition()[0])
    assert len(ages) == 80
    assert after["belaypin_streams", ("social",)] == 1  # the first sample still
    assert after["belaypin_sample_age_seconds", ()] >= max(ages)


def test_the_exporter_of_a_store_goes_with_it() -> None:
    store = belaypin.open("sqlite:///:memory:")
    metrics.exposition(store)
    store.close()
    alive = weakref.ref(store)
    del store
    gc.collect()
    assert alive() is None
