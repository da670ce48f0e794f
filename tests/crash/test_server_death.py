"""PostgreSQL is killed or stopped at once while miners work: they say so, go on later, lose nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import belaypin
from belaypin._sync.lease import Lease
from belaypin._sync.window import Page
from belaypin.testing.sigkill import Script
from tests.crash.mine import Mine
from tests.crash.world import Theatre, World
from tests.services.fixtures import DurablePostgres

pytestmark = pytest.mark.proof

Note = Callable[[str, object], None]

PATIENCE_S = 120


class _Loop(threading.Thread):
    """Starts a script again whenever it ends, until it ends well; counts how it ended."""

    def __init__(self, script: Script) -> None:
        super().__init__(daemon=True)
        self.ends: Counter[str] = Counter()
        self._command = [sys.executable, str(script.path), *script.args]

    def run(self) -> None:
        while True:
            ran = subprocess.run(self._command, stdout=-3, stderr=-1, text=True, check=False)
            if ran.returncode == 0:
                return
            self.ends[_error(ran.stderr)] += 1
            time.sleep(0.05)


def _error(stderr: str) -> str:
    """The class of the error in the last traceback."""
    lines = [line for line in stderr.splitlines() if line.startswith("belaypin.errors.")]
    return lines[-1].partition(":")[0].rpartition(".")[2] if lines else stderr[-2000:]


def _survive(mine: Mine, server: DurablePostgres, deaths: int, seed: int) -> Counter[str]:
    """Mine while the server dies so many times; how the miners ended in between."""
    chance = random.Random(seed)
    loops = [_Loop(script) for script in mine.fresh()]
    for loop in loops:
        loop.start()
    for number in range(deaths):
        time.sleep(chance.uniform(0.1, 0.9))
        (server.stop_immediate if number % 2 else server.kill9)()
        time.sleep(chance.uniform(0, 0.3))
        server.start()
    for loop in loops:
        loop.join(PATIENCE_S)
        assert not loop.is_alive(), f"still at work, ended so far by {loop.ends}"
    return sum((loop.ends for loop in loops), Counter())


def _assert_survived(mine: Mine, ends: Counter[str]) -> None:
    assert mine.verify() == (0, 0)
    assert set(ends) <= {"StoreUnavailable"}, ends


def test_the_server_dies_while_miners_work(
    tmp_path: Path, postgres_durable: DurablePostgres, record_property: Note
) -> None:
    mine = Mine(tmp_path, postgres_durable.url, roles=("main", "live"), page_size=10)
    ends = _survive(mine, postgres_durable, deaths=3, seed=1)
    _assert_survived(mine, ends)
    record_property("note", f"PostgreSQL died 3 times under two miners, who ended by {dict(ends)}")


def _commit_while_it_dies(world: World, page: Page, lease: Lease, server: DurablePostgres) -> None:
    with page.commit() as tx:
        world.write(tx, page.items, lease)
        server.kill9()
        tx.execute("SELECT 1")


def test_a_worker_that_lives_on_is_told_and_goes_on(postgres_durable: DurablePostgres) -> None:
    theatre = Theatre(postgres_durable.url)
    world = theatre.world(pages=3)
    with belaypin.open(postgres_durable.url, clock=world.clock) as store:
        lease = world.lease(store)
        lease.acquire()
        world.granted.append(("main", lease.token))
        pages = world.pages(lease)
        world.commit(next(pages), lease)
        page = next(pages)
        with pytest.raises(belaypin.StoreUnavailable):
            _commit_while_it_dies(world, page, lease, postgres_durable)
        postgres_durable.start()
        for page in world.pages(lease):  # the same lease, the same store: nothing to be made anew
            world.commit(page, lease)
        lease.release()
    theatre.close()
    again = Theatre(postgres_durable.url)
    world.theatre = again
    world.check()
    again.close()


@pytest.mark.long
def test_the_server_dies_again_and_again(
    tmp_path: Path, postgres_durable: DurablePostgres, record_property: Note
) -> None:
    deaths, rounds = 0, 0
    ends: Counter[str] = Counter()
    mine = Mine(tmp_path, postgres_durable.url, roles=("main", "live", "main 2"), page_size=10)
    while deaths < 500:
        found = _survive(mine, postgres_durable, deaths=10, seed=rounds)
        _assert_survived(mine, found)
        ends += found
        deaths, rounds = deaths + 10, rounds + 1
    record_property("note", f"PostgreSQL died {deaths} times in {rounds} rounds: {dict(ends)}")
