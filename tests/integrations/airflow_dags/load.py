"""A Dag that takes six steps outside, is killed after one of them, and fails after another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from airflow.sdk import Asset, dag, task

POSTS = Asset("posts")


@dag(schedule=None)
def load() -> None:
    @task(outlets=[POSTS], retries=1, retry_delay=0)
    def mine(task_state_store, asset_state_store) -> None:  # type: ignore[no-untyped-def]
        done = asset_state_store[POSTS].get("done", default=0)
        for number in range(done, 6):
            with Path(os.environ["OUTSIDE"]).open("a") as outside:
                outside.write(f"{number}\n")
            asset_state_store[POSTS].set("done", number + 1)
            if os.environ.get("KILLED_AFTER") == str(number):
                os.kill(os.getpid(), signal.SIGKILL)
            if number == 3 and not task_state_store.get("has_failed"):
                task_state_store.set("has_failed", "once")
                raise OSError("the first attempt fails")

    mine()


load()
