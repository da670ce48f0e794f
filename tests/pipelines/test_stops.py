"""``belaypin run --engine processes:2`` is told to stop at any moment: it is, in time, and leaves nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import Place
from tests.pipelines.test_processes import (
    COUNT,
    ROOT,
    Notes,
    environment,
    leases_are_free,
    wait_until,
)

GRACE_S = 40
ORDERS = 25
SLACK_S = 20
"""What a page in hand, and the end of the processes, may take on a machine that does other things."""
STOPPED = 3


class Stops:
    """Runs of one shop on one store, each told to stop at a random moment."""

    def __init__(self, place: Place, notes: Notes, chance: random.Random) -> None:
        self._place = place
        self._notes = notes
        self._chance = chance
        self.slowest_s = 0.0
        self.stopped = 0

    def once(self, within_s: float) -> None:
        """Begin, wait for the first fetch and a while, tell it to stop, look at what is left."""
        fetches = len(self._notes.lines)
        run = _begun(self._place.url)
        self._notes.wait_for(fetches + 1)
        time.sleep(self._chance.uniform(0, within_s))
        began_s = time.monotonic()
        if self._chance.random() < 0.5:
            run.send_signal(signal.SIGTERM)
        else:  # as a terminal does with Ctrl-C
            os.killpg(run.pid, signal.SIGINT)
        printed, errors = run.communicate(timeout=SLACK_S)  # far sooner than its grace is over
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        assert run.returncode in (0, STOPPED), errors  # 0: all was done by then
        report = json.loads(printed)
        assert report["exit_code"] == run.returncode
        assert (report["reason"] == "stopped") is (run.returncode == STOPPED)
        self.stopped += run.returncode == STOPPED
        self._check(report, run.pid)

    def finish(self, orders: int) -> None:
        """A run that nobody stops: nothing is lost, and nothing is there twice."""
        run = _begun(self._place.url, "serial")
        printed, errors = run.communicate(timeout=120)
        assert run.returncode == 0, (printed, errors)
        assert self._place.look(COUNT) == [(orders, orders)]

    def _check(self, report: dict[str, Any], group: int) -> None:
        ((rows, distinct),) = self._place.look(COUNT)
        assert rows == distinct
        assert leases_are_free(self._place)
        wait_until(lambda: not _members(group), "the processes to be gone", 5)


def _begun(url: str, engine: str = "processes:2") -> subprocess.Popen[str]:
    words = ("tests.pipelines.shop:shop", "--engine", engine, "--grace", f"{GRACE_S}s")
    return subprocess.Popen(
        [sys.executable, "-m", "belaypin.cli", "run", *words, "--store", url, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def _members(group: int) -> list[int]:
    """The processes of a group that still run: not even a child's child may be left."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


def stops_of(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sites: int, seed: int | None
) -> Stops:
    notes = environment(tmp_path, monkeypatch, "slow")
    monkeypatch.setenv("SHOP_DIALECT", "postgres" if place.is_postgres else "sqlite")
    monkeypatch.setenv("SHOP_SITES", str(sites))
    monkeypatch.setenv("SHOP_ORDERS", str(ORDERS))
    return Stops(place, notes, random.Random(seed))


def test_it_stops_at_random_moments(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = 50  # more batches than processes: some wait in the queue
    stops = stops_of(place, tmp_path, monkeypatch, sites, seed=4)
    for _ in range(1 if place.is_postgres else 2):
        stops.once(within_s=0.3)
    assert stops.stopped > 0
    monkeypatch.setenv("SHOP_BEHAVIOUR", "")
    stops.finish(sites * ORDERS)


@pytest.mark.long
def test_it_stops_at_many_random_moments(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, Any], None],
) -> None:
    sites = 120
    stops = stops_of(place, tmp_path, monkeypatch, sites, seed=None)
    while stops.stopped < 30:
        stops.once(within_s=0.4)
    monkeypatch.setenv("SHOP_BEHAVIOUR", "")
    stops.finish(sites * ORDERS)
    name = place.url.partition(":")[0]
    told = f"{stops.stopped} stops, the slowest {stops.slowest_s:.1f} s, 0 lost, 0 doubled"
    record_property("note", f"processes:2 on {name}: {told}, no lease and no process left")
