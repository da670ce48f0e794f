"""The engine ``dask``, with the real package: clusters of its own, and one that others run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen

import distributed
import pytest

import belaypin
from belaypin.pipeline.engines import engine_of
from tests.integrations.engines import EngineContract
from tests.pipelines.test_processes import wait_until


class TestDask(EngineContract):
    engine = "dask:2"

    @staticmethod
    @contextmanager
    def running(folder: Path) -> Iterator[str]:
        file = folder / "scheduler.json"
        with ExitStack() as stack:
            stack.enter_context(
                _begun("scheduler", file, "--port=0", "--dashboard-address=127.0.0.1:0")
            )
            wait_until(file.exists, "the scheduler")
            for _ in range(2):
                stack.enter_context(_begun("worker", file, "--nthreads=1"))
            with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
                yield f"dask:{client.scheduler.address}"
                assert len(client.nthreads()) == 2


@contextmanager
def _begun(what: str, file: Path, *options: str) -> Iterator[None]:
    module, host = f"distributed.cli.dask_{what}", "--host=127.0.0.1"
    command = [sys.executable, "-m", module, host, "--no-dashboard", f"--scheduler-file={file}"]
    process = Popen([*command, *options], stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def test_a_scheduler_that_is_not_there_is_a_usage_error() -> None:
    with pytest.raises(
        belaypin.UsageError, match="scheduler at tcp://127.0.0.1:1 can't be reached"
    ):
        engine_of("dask:tcp://127.0.0.1:1")


@pytest.mark.parametrize("engine", ["dask:0", "dask:5000"])
def test_the_number_of_workers_must_be_one(engine: str) -> None:
    with pytest.raises(belaypin.UsageError, match="1 to 1000"):
        engine_of(engine)
