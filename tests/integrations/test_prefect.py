"""Prefect's tasks on a store: a real flow, on a server of Prefect's own, runs each input once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, task
from prefect.locking.protocol import LockManager
from prefect.testing.utilities import prefect_test_harness

import belaypin
from belaypin.integrations.prefect import Fingerprint, LeaseLocks, StoreStorage, cached

# Prefect's own, with the newest releases of what it stands on.
pytestmark = pytest.mark.filterwarnings("default")

DIES_WITH_A_LOCK = """
import os, signal, sys
from belaypin.integrations.prefect import LeaseLocks
assert LeaseLocks(sys.argv[1]).acquire_lock("report", "him")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=200):
        yield


@task
def add(a: Any, b: Any = 0) -> Any:
    return a + b


def key_of(policy: Any, inputs: dict[str, Any], of: Any = add) -> str:
    key: str = policy.compute_key(SimpleNamespace(task=of), inputs, {})
    return key


def test_a_key_says_which_task_with_what() -> None:
    policy = Fingerprint()
    key = key_of(policy, {"a": {"x": 1, "y": 2}, "b": 3})
    assert key == key_of(policy, {"b": 3.0, "a": {"y": 2, "x": 1}})
    assert set("/:\\") & set(key) == set()
    assert key != key_of(policy, {"a": {"x": 1, "y": 2}, "b": 4})
    assert key != key_of(Fingerprint(version=1), {"a": {"x": 1, "y": 2}, "b": 3})
    assert key_of(policy - "b", {"a": 1, "b": 3}) == key_of(policy - "b", {"a": 1, "b": 4})
    assert key_of(policy, {"a": 1}) != key_of(policy, {"a": 1}, task(lambda a: a))
    with pytest.raises(belaypin.UsageError):
        key_of(policy, {"a": object()})


async def test_bytes_are_kept(url: str) -> None:
    storage = StoreStorage(url=url)
    with pytest.raises(ValueError, match="Nothing"):
        storage.read_path("a/b")
    for content in (b"", bytes(range(256)), b"again"):
        storage.write_path("a/b", content=content)
        assert storage.read_path("a/b") == content
    with pytest.raises(ValueError, match="Nothing"):
        StoreStorage(url=url, kind="record").read_path("a/b")
    await storage.awrite_path("c", content=b"c")
    assert await storage.aread_path("c") == b"c"


async def test_a_lock_is_held_by_one(url: str) -> None:
    locks = LeaseLocks(url)
    assert isinstance(locks, LockManager)
    assert not locks.is_locked("k")
    assert locks.acquire_lock("k", "me")
    assert locks.acquire_lock("k", "me")
    assert locks.is_locked("k")
    assert locks.is_lock_holder("k", "me")
    assert not locks.is_lock_holder("k", "him")
    assert not locks.acquire_lock("k", "him", acquire_timeout=0)
    assert not await locks.aacquire_lock("k", "him", acquire_timeout=0.1)
    assert not locks.wait_for_lock("k", timeout=0.1)
    with pytest.raises(ValueError, match="No lock"):
        locks.release_lock("k", "him")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(locks.acquire_lock, "k", "him", 30)
        await asyncio.sleep(0.2)
        locks.release_lock("k", "me")
        assert waiting.result()
    locks.release_lock("k", "him")
    assert await locks.await_for_lock("k", timeout=0)


def test_a_lock_whose_holder_was_killed_is_free_at_once(url: str) -> None:
    command = [sys.executable, "-c", DIES_WITH_A_LOCK, url]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert LeaseLocks(url).acquire_lock("report", "me", acquire_timeout=5)
    LeaseLocks(url).release_lock("report", "me")


def test_a_task_runs_once_for_each_input(prefect: None, url: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    StoreStorage(url=url).save("app", overwrite=True)

    @task(
        cache_policy=cached(url, ignore=("client",)),
        result_storage="belaypin-store/app",
        result_serializer="json",
    )
    def report(month: str, client: object) -> dict[str, Any]:
        time.sleep(0.3)
        with outside.open("a") as ran:
            ran.write(f"{month}\n")
        return {"month": month}

    @flow
    def reports(*months: str) -> list[dict[str, Any]]:
        futures = [report.submit(month, object()) for month in months]
        return [future.result() for future in futures]

    march, april = {"month": "2024-03"}, {"month": "2024-04"}
    assert reports("2024-03", "2024-03", "2024-04") == [march, march, april]
    assert sorted(outside.read_text().split()) == ["2024-03", "2024-04"]
    assert reports("2024-04", "2024-03") == [april, march]
    assert len(outside.read_text().split()) == 2
    with belaypin.open(url) as store:
        assert [row.state for row in store.leases(pipeline="prefect")] == []
        kinds = [row.key.stream for row in store.streams(pipeline="prefect")]
        assert kinds == ["record", "result"] * 2


def test_a_task_that_failed_runs_again(prefect: None, url: str) -> None:
    tries: list[int] = []

    @task(cache_policy=cached(url), result_serializer="json")
    def shaky(n: int) -> int:
        tries.append(n)
        if len(tries) == 1:
            raise OSError("the source is away")
        return n

    @flow
    def run() -> Any:
        return shaky(7)

    with pytest.raises(OSError, match="away"):
        run()
    assert run() == 7
    assert run() == 7
    assert tries == [7, 7]
