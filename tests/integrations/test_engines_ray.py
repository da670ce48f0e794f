"""The engine ``ray``, with the real package: clusters of its own, and one that others run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from subprocess import DEVNULL, Popen, run
from uuid import uuid4

import psutil
import pytest
import ray

import belaypin
from belaypin.pipeline.engines import engine_of
from tests.integrations.engines import EngineContract
from tests.pipelines.conftest import Place
from tests.pipelines.shop import SITES, shop
from tests.pipelines.test_processes import Notes, wait_until

RAY = str(Path(sys.executable).parent / "ray")


class TestRay(EngineContract):
    engine = "ray:2"
    ends_at_once = False  # Ray's agents try to tell a head that is gone as well

    @staticmethod
    @contextmanager
    def running(folder: Path) -> Iterator[str]:
        address = f"{ray.util.get_node_ip_address()}:{_free_port()}"
        options = ["--include-dashboard=false", f"--port={address.rpartition(':')[2]}"]
        # Whoever names an address must bring the token of the cluster.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid4().hex}
        os.environ.update(token)
        # In the foreground, to be ended with all its children: `ray stop` ends everybody's.
        head = Popen(
            [RAY, "start", "--head", "--block", "--num-cpus=2", *options],
            stdout=DEVNULL,
            stderr=DEVNULL,
        )
        try:
            wait_until(lambda: _is_up(address), "the cluster", 180)
            yield f"ray:{address}"
            assert head.poll() is None
        finally:
            family = psutil.Process(head.pid).children(recursive=True)
            head.kill()  # told to end, it may take its time
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            head.wait()
            psutil.wait_procs(family, timeout=60)
            for name in token:
                del os.environ[name]

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


def _free_port() -> int:
    with socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port


def _is_up(address: str) -> bool:
    status = [RAY, "status", f"--address={address}"]
    return run(status, check=False, stdout=DEVNULL, stderr=DEVNULL).returncode == 0


def test_a_cluster_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(belaypin.UsageError, match="cluster at 127.0.0.1:1 can't be reached"):
        engine_of("ray:127.0.0.1:1")


@pytest.mark.parametrize("engine", ["ray:0", "ray:5000"])
def test_the_number_of_workers_must_be_one(engine: str) -> None:
    with pytest.raises(belaypin.UsageError, match="1 to 1000"):
        engine_of(engine)
