"""Airflow's state store on a belaypin store: real Dag runs, killed and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.state import AssetScope as SdkAssetScope
from airflow.sdk.state import BaseStoreBackend as SdkBaseStoreBackend
from airflow.sdk.state import TaskScope as SdkTaskScope
from airflow.state import AssetScope, BaseStoreBackend, TaskScope

import belaypin
from belaypin.integrations.airflow import BelaypinStateBackend, BelaypinWorkerStateBackend

BIN = Path(sys.executable).parent
TASK = TaskScope(dag_id="load", run_id="manual__2024-01-01T00:00:00+00:00", task_id="mine")
MAPPED = TaskScope(dag_id=TASK.dag_id, run_id=TASK.run_id, task_id=TASK.task_id, map_index=3)
ASSET = AssetScope(asset_id=7)


@pytest.fixture
def backend(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[BelaypinStateBackend]:
    monkeypatch.setenv("AIRFLOW__BELAYPIN__STORE", url)
    backend = BelaypinStateBackend()
    yield backend
    backend._store.close()


@pytest.mark.parametrize("scope", [TASK, MAPPED, ASSET], ids=["task", "mapped", "asset"])
async def test_what_is_set_is_there_until_it_is_deleted(
    backend: BelaypinStateBackend, scope: Any
) -> None:
    assert isinstance(backend, BaseStoreBackend)
    assert backend.get(scope, "cursor") is None
    values = [{"page": 3, "ids": [1, 2.5, "ü\0"]}, "text", 7, False, []]
    for value in values:
        backend.set(scope, "cursor", json.dumps(value), session=None)
        assert json.loads(backend.get(scope, "cursor") or "") == value
    backend.set(scope, "other/key", '"kept"')
    backend.delete(scope, "cursor")
    backend.delete(scope, "cursor")
    assert backend.get(scope, "cursor") is None
    await backend.aset(scope, "cursor", "1")
    assert await backend.aget(scope, "cursor") == "1"
    await backend.adelete(scope, "cursor")
    assert await backend.aget(scope, "cursor") is None
    assert backend.get(scope, "other/key") == '"kept"'
    await backend.aclear(scope)
    assert backend.get(scope, "other/key") is None


def test_scopes_are_kept_apart(backend: BelaypinStateBackend) -> None:
    scopes: list[Any] = [
        TASK,
        MAPPED,
        TaskScope(dag_id="load", run_id="another", task_id="mine"),
        TaskScope(dag_id="load", run_id=TASK.run_id, task_id="min"),
        ASSET,
        AssetScope(asset_id=8),
        AssetScope(name="7"),
        AssetScope(uri="7"),
    ]
    for number, scope in enumerate(scopes):
        backend.set(scope, "k", str(number))
    assert [backend.get(scope, "k") for scope in scopes] == [str(n) for n in range(8)]
    backend.clear(TASK)
    assert [backend.get(scope, "k") for scope in (TASK, MAPPED)] == [None, "1"]
    backend.clear(TASK, all_map_indices=True)
    backend.clear(ASSET)
    found = [backend.get(scope, "k") for scope in scopes]
    assert found == [None, None, "2", "3", None, "5", "6", "7"]


def test_expired_state_of_tasks_is_cleaned_up(backend: BelaypinStateBackend) -> None:
    now = datetime.now(UTC)
    for name, expires_at in (
        ("old", now - timedelta(days=1)),
        ("new", now + timedelta(days=1)),
        ("for ever", None),
    ):
        backend.set(TASK, name, "1", expires_at=expires_at)
    backend.set(TASK, "renewed", "1", expires_at=now - timedelta(days=1))
    backend.set(TASK, "renewed", "2", expires_at=now + timedelta(days=1))
    backend.cleanup()
    found = {name: backend.get(TASK, name) for name in ("old", "new", "for ever", "renewed")}
    assert found == {"old": None, "new": "1", "for ever": "1", "renewed": "2"}


def test_an_assets_watermark_has_a_history(backend: BelaypinStateBackend, url: str) -> None:
    for day in (1, 2):
        backend.set(ASSET, "watermark", json.dumps({"day": day}))
    with belaypin.open(url) as store:
        key = ("airflow", "asset_id:7", "watermark")
        assert [str(d) for d in store.diff(key, 1)] == ["~ /value/day: 1 -> 2"]


def test_workers_keep_values_and_airflow_a_reference(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__BELAYPIN__STORE", url)
    worker = BelaypinWorkerStateBackend()
    assert isinstance(worker, SdkBaseStoreBackend)
    task = SdkTaskScope(dag_id="load", run_id="r", task_id="mine")
    asset = SdkAssetScope(name="posts")
    ref = worker.serialize_task_state_store_to_ref(value={"n": 1}, key="k", scope=task)
    assert worker.serialize_task_state_store_to_ref(value={"n": 2}, key="k", scope=task) == ref
    assert worker.deserialize_task_state_store_from_ref(ref) == {"n": 2}
    ref = worker.serialize_asset_state_store_to_ref(value=[1], key="k", scope=asset)
    assert worker.deserialize_asset_state_store_from_ref(ref) == [1]
    worker.clear(asset)
    with pytest.raises(belaypin.UsageError, match="no such value"):
        worker.deserialize_asset_state_store_from_ref(ref)
    worker._store.close()


def test_a_store_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__BELAYPIN__STORE", raising=False)
    with pytest.raises(belaypin.UsageError, match="AIRFLOW__BELAYPIN__STORE"):
        BelaypinStateBackend().get(TASK, "k")


def airflow(*words: str, **environment: str) -> int:
    """Run Airflow's own command; returns its exit code. What it said is shown if the test fails."""
    run = subprocess.run(
        [BIN / "airflow", *words],
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "airflow_dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=250,
        check=False,
    )
    sys.stdout.write(run.stdout[-5000:])
    return run.returncode


@pytest.fixture(scope="module")
def migrated() -> None:
    assert airflow("db", "migrate") == 0


def test_a_dag_that_was_killed_goes_on(migrated: None, tmp_path: Path) -> None:
    backend = "belaypin.integrations.airflow.BelaypinStateBackend"
    environment = {
        "AIRFLOW__BELAYPIN__STORE": f"sqlite:///{tmp_path}/app.db",
        "AIRFLOW__STATE_STORE__BACKEND": backend,
        "OUTSIDE": str(tmp_path / "outside"),
    }
    killed = airflow("dags", "test", "load", "2026-01-01", KILLED_AFTER="1", **environment)
    assert killed == -signal.SIGKILL
    assert (tmp_path / "outside").read_text().split() == ["0", "1"]
    assert airflow("dags", "test", "load", "2026-01-01", **environment) == 0
    assert (tmp_path / "outside").read_text().split() == ["0", "1", "2", "3", "4", "5"]
    with belaypin.open(environment["AIRFLOW__BELAYPIN__STORE"]) as store:
        (row,) = store.streams(pipeline="airflow")
        checkpoint = store.load(row.key)
        assert checkpoint is not None
        assert (checkpoint.state, checkpoint.version) == ({"value": 6}, 6)


def test_a_dag_whose_workers_keep_its_state(
    migrated: None, tmp_path: Path, postgres_url: str
) -> None:
    backend = "belaypin.integrations.airflow.BelaypinWorkerStateBackend"
    environment = {
        "AIRFLOW__BELAYPIN__STORE": postgres_url,
        "AIRFLOW__WORKERS__STATE_STORE_BACKEND": backend,
        "OUTSIDE": str(tmp_path / "outside"),
    }
    assert airflow("dags", "test", "load", "2026-01-02", **environment) == 0
    assert (tmp_path / "outside").read_text().split() == ["0", "1", "2", "3", "4", "5"]
    with belaypin.open(postgres_url) as store:
        checkpoint = store.load(("airflow", "name:posts", "done"))
        assert checkpoint is not None
        assert checkpoint.state == {"value": 6}
