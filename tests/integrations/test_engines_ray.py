"""The engine ``ray``, with the real package: clusters of its own, and one that others run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, run

import pytest
import ray

import belaypin
from belaypin.pipeline.engines import engine_of
from tests.integrations.engines import EngineContract
from tests.pipelines.conftest import Place
from tests.pipelines.shop import SITES, shop
from tests.pipelines.test_processes import Notes


class TestRay(EngineContract):
    engine = "ray:2"

    @staticmethod
    @contextmanager
    def running(folder: Path) -> Iterator[str]:
        program = [str(Path(sys.executable).parent / "ray")]
        head = ["start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false"]
        quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        run([*program, *head], check=True, stdout=DEVNULL, stderr=DEVNULL, env=quiet)
        try:
            yield "ray:auto"
        finally:
            run([*program, "stop", "--force"], check=True, stdout=DEVNULL, stderr=DEVNULL)

    def test_who_is_connected_already_stays_connected(
        self, sqlite_place: Place, notes: Notes
    ) -> None:
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        try:
            report = shop.run(sqlite_place.url, engine="ray")
            assert (report.reason, report.entities_done) == ("complete", SITES), report
            assert ray.is_initialized()
        finally:
            ray.shutdown()


def test_a_cluster_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(belaypin.UsageError, match="cluster at 127.0.0.1:1 can't be reached"):
        engine_of("ray:127.0.0.1:1")


@pytest.mark.parametrize("engine", ["ray:0", "ray:5000"])
def test_the_number_of_workers_must_be_one(engine: str) -> None:
    with pytest.raises(belaypin.UsageError, match="1 to 1000"):
        engine_of(engine)
