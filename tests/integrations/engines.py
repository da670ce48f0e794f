"""What must hold on every engine whose workers are processes of a framework."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from concurrent.futures import wait
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil
import pytest

from belaypin.pipeline.engines import engine_of
from belaypin.pipeline.reference import Reference
from belaypin.pipeline.tally import Outcome
from belaypin.pipeline.worker import Task, work_on
from tests.pipelines import stackexchange
from tests.pipelines.conftest import Place
from tests.pipelines.shop import SITES, shop
from tests.pipelines.test_processes import (
    ALL,
    COUNT,
    PAGES,
    ROOT,
    Notes,
    begun,
    ended,
    finish,
    is_alive,
    leases_are_free,
    wait_until,
)
from tests.services.recycling import OURS

__all__ = ["EngineContract", "contents"]

Note = Any

GONE_S = 90  # a second or two; what hangs does so for longer


def contents(place: Place) -> dict[str, Any]:
    """What a run of the shop made: rows as the driver sees them, and what the store says."""
    with place.open() as store:
        streams = {row.key: row for row in store.streams(pipeline="shop", limit=1000)}
        ledgers = {
            str(key): sorted(row.item_id for row in store.items(key, limit=1000)) for key in streams
        }
        coverage = {str(key): store.coverage(key) for key in streams}
    return {
        "orders": sorted(place.look("SELECT id, site FROM orders")),
        "sites": sorted(place.look("SELECT name, title FROM sites")),
        "ledgers": ledgers,
        "coverage": coverage,
    }


class EngineContract(ABC):
    """Subclasses name an engine that makes its own workers: ``name:2``."""

    engine: ClassVar[str]
    ends_at_once: ClassVar[bool] = True
    """Whether all ends with the runner; what is no worker may go on for a while if not."""

    @staticmethod
    @abstractmethod
    def running(folder: Path) -> AbstractContextManager[str]:
        """The engine of a cluster with two workers that somebody else has started."""

    @pytest.fixture
    def sqlite_place(self, tmp_path: Path) -> Place:
        return Place(f"sqlite:///{tmp_path / 'app.db'}")

    @pytest.fixture
    def place(self, url: str) -> Place:
        return Place(url)

    @pytest.fixture
    def notes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
        monkeypatch.setenv("SHOP_NOTES", str(tmp_path / "notes"))
        monkeypatch.chdir(ROOT)
        return Notes(tmp_path / "notes")

    def test_it_makes_what_one_thread_makes(
        self,
        tmp_path: Path,
        place: Place,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("SHOP_DIALECT", "postgres" if place.is_postgres else "sqlite")
        report = shop.run(place.url, engine=self.engine, batch=1)
        assert (report.reason, report.exit_code, report.remaining) == ("complete", 0, 0), report
        assert (report.entities_done, report.streams["orders"].new) == (SITES, ALL)
        assert len(notes.fetches) == len(set(notes.fetches)) == PAGES
        assert os.getpid() not in notes.pids
        # Ray tells its workers to end, and does not wait for it.
        wait_until(lambda: not any(map(is_alive, notes.pids)), "the workers to be gone", GONE_S)
        assert capfd.readouterr() == ("", "")
        monkeypatch.undo()
        reference = Place(f"sqlite:///{tmp_path / 'reference.db'}")
        shop.run(reference.url, engine="serial")
        assert contents(place) == contents(reference)

    def test_it_leaves_of_a_stack_exchange_site_what_others_leave(self, tmp_path: Path) -> None:
        found = {}
        for engine in ("threads:2", self.engine):
            url = f"sqlite:///{tmp_path / engine.replace(':', '-')}.db"
            reports = stackexchange.mine(url, engine)
            assert [report.exit_code for report in reports] == [0, 0], reports
            found[engine] = stackexchange.left(url)
        assert found["threads:2"] == found[self.engine]

    def test_a_worker_that_dies_in_a_commit_loses_and_doubles_nothing(
        self, sqlite_place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "die")
        report = shop.run(sqlite_place.url, engine=self.engine, batch=2)
        assert (report.reason, report.entities_done) == ("complete", SITES), report
        assert sqlite_place.look(COUNT) == [(ALL, ALL)]
        assert len(notes.fetches) == PAGES + 1  # the page in hand again, and no other

    def test_an_item_that_kills_its_workers_is_quarantined(
        self, sqlite_place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "segfault")
        report = shop.run(sqlite_place.url, engine=self.engine)
        assert (report.reason, report.entities_done) == ("complete", SITES), report
        assert sqlite_place.look(COUNT) == [(ALL - 1, ALL - 1)]
        with sqlite_place.open() as store:
            (killer,) = store.failures("shop", status="quarantined")
        assert killer.item_id == "site:1-13"

    def test_three_kills_at_random(
        self,
        tmp_path: Path,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
        record_property: Note,
    ) -> None:
        self._campaign(3, tmp_path, monkeypatch, record_property)

    @pytest.mark.long
    def test_thirty_kills_at_random(
        self,
        tmp_path: Path,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
        record_property: Note,
    ) -> None:
        self._campaign(30, tmp_path, monkeypatch, record_property)

    def _campaign(
        self, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
        chance, done, rounds, again = random.Random(1), 0, 0, 0
        while done < kills:
            rounds += 1
            assert rounds <= kills, "a round without a kill"
            notes = Notes(tmp_path / f"notes{rounds}")
            monkeypatch.setenv("SHOP_NOTES", str(notes.path))
            place = Place(f"sqlite:///{tmp_path / f'{rounds}.db'}")
            killed = self._round(place, notes, chance, kills - done)
            # A kill costs the page in hand, and one between commit and fetch costs none.
            assert PAGES <= len(notes.fetches) <= PAGES + killed
            done += killed
            again += len(notes.fetches) - PAGES
        pages = rounds * PAGES
        note(
            "note",
            f"{self.engine}: {done} kills in {rounds} runs of {ALL} items: 0 lost, 0 doubled",
        )
        note("note", f"{self.engine}: {again} of {pages} pages were fetched twice")

    def _round(self, place: Place, notes: Notes, chance: random.Random, kills: int) -> int:
        killed: set[int] = set()
        over = threading.Event()

        def kill() -> None:
            while len(killed) < kills and not over.wait(chance.uniform(0.05, 0.3)):
                if at_work := sorted(pid for pid in notes.pids - killed if is_alive(pid)):
                    killed.add(pid := chance.choice(at_work))
                    os.kill(pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            report = shop.run(place.url, engine=self.engine, batch=1)
        finally:
            over.set()
            killer.join()
        assert (report.reason, report.entities_done) == ("complete", SITES), report
        assert place.look(COUNT) == [(ALL, ALL)]
        return len(killed)

    def test_a_batch_that_runs_twice_at_once_does_nothing_twice(
        self,
        sqlite_place: Place,
        tmp_path: Path,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
        with sqlite_place.open() as store:
            for setup in shop.setups:
                setup.call(store)
        task = Task(
            reference=Reference.of(shop, shop.home),
            store=sqlite_place.url,
            entities=tuple(f"site:{n}" for n in range(SITES)),
            slice_s=60.0,
        )
        text = msgspec.json.encode(task)
        engine = engine_of(self.engine)
        try:
            both = str(tmp_path / "met").encode()
            wait([engine.submit(meet, both) for _ in range(2)])
            futures = [engine.submit(work_on, text) for _ in range(2)]
            wait(futures)
        finally:
            engine.close(at_once=False)
        outcomes = [Outcome.decode(future.result()) for future in futures]
        assert all(each.done + len(each.held) == SITES for each in outcomes), outcomes
        assert any(each.held for each in outcomes), "they did not meet"
        assert len(notes.pids) == 2
        finish(sqlite_place)
        assert len(notes.fetches) == PAGES

    # --- stopping -------------------------------------------------------------------------------

    @pytest.mark.parametrize("is_terminal", [False, True])
    def test_a_signal_ends_a_run_after_the_pages_in_hand(
        self,
        sqlite_place: Place,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
        is_terminal: bool,
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
        run = begun(sqlite_place, self.engine)
        notes.wait_for(random.Random(is_terminal).randrange(3, 12))
        family = _family(run.pid)
        _assert_heard_on_loopback_only(family)
        if is_terminal:  # Ctrl-C reaches all of them
            os.killpg(run.pid, signal.SIGINT)
        else:
            run.send_signal(signal.SIGTERM)
        report = ended(run)
        assert (run.returncode, report["reason"], report["exit_code"]) == (3, "stopped", 3)
        assert report["remaining"] is None or report["remaining"] > 0
        ((rows, distinct),) = sqlite_place.look(COUNT)
        assert rows == distinct == report["streams"]["orders"]["new"]
        assert rows == notes.orders  # every page that was fetched
        assert leases_are_free(sqlite_place)
        _assert_gone(family)
        monkeypatch.undo()
        finish(sqlite_place)

    def test_a_run_that_hangs_ends_when_its_grace_is_over(
        self, sqlite_place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "hang")
        run = begun(sqlite_place, self.engine, grace_s=1)
        wait_until(lambda: "site:1 10" in notes.fetches, "the hanging page")
        family = _family(run.pid)
        begun_s = time.monotonic()
        run.send_signal(signal.SIGTERM)
        report = ended(run)
        assert time.monotonic() - begun_s < GONE_S
        assert (run.returncode, report["reason"]) == (3, "stopped")
        _assert_gone(family)
        monkeypatch.undo()
        finish(sqlite_place)

    def test_workers_do_not_outlive_their_runner(
        self, sqlite_place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
        run = begun(sqlite_place, self.engine)
        notes.wait_for(5)
        family = _family(run.pid)
        run.kill()
        run.communicate()
        wait_until(lambda: not any(map(is_alive, notes.pids)), "the workers to be gone", GONE_S)
        if self.ends_at_once:  # the fixture nothing_goes_on waits for others
            _assert_gone(family)
        monkeypatch.undo()
        finish(sqlite_place)

    def test_a_script_without_a_guard_is_told_so(self, tmp_path: Path) -> None:
        script = tmp_path / "app.py"
        script.write_text(
            "import belaypin\n"
            "p = belaypin.Pipeline('app', store='sqlite:///app.db')\n"
            "p.watch('page')(lambda entity: {'n': entity})\n"
            "p.item('page')(lambda tx, page: tx.execute('SELECT 1'))\n"
            f"print(p.run(engine={self.engine!r}, entities=[1, 2]))\n"
        )
        run = subprocess.run(
            [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 1
        assert 'under `if __name__ == "__main__":`' in run.stderr.splitlines()[-1]

    # --- a cluster that runs already ------------------------------------------------------------

    def test_a_cluster_of_others_does_it_too_and_goes_on(
        self, tmp_path: Path, notes: Notes, monkeypatch: pytest.MonkeyPatch, postgres_url: str
    ) -> None:
        place = Place(postgres_url)
        monkeypatch.setenv("SHOP_DIALECT", "postgres")
        with self.running(tmp_path) as cluster:
            for _ in range(2):
                # In a process of its own: Ray reads its settings once in each.
                report = ended(begun(place, cluster))
                assert (report["reason"], report["exit_code"]) == ("complete", 0), report
                assert place.look(COUNT) == [(ALL, ALL)]
            others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            theirs = f"backend_type = 'client backend' AND application_name <> '{OURS}'"
            idle = f"{others} AND pid <> pg_backend_pid() AND {theirs}"
            wait_until(lambda: place.look(idle) == [], "the workers to leave the database")

    def test_a_stop_in_a_cluster_of_others_stops_this_run_alone(
        self,
        sqlite_place: Place,
        tmp_path: Path,
        notes: Notes,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
        with self.running(tmp_path) as cluster:
            run = begun(sqlite_place, cluster)
            notes.wait_for(3)
            run.send_signal(signal.SIGTERM)
            report = ended(run)
            assert (run.returncode, report["reason"]) == (3, "stopped")
            ((rows, distinct),) = sqlite_place.look(COUNT)
            assert rows == distinct == notes.orders
            other = Place(f"sqlite:///{tmp_path / 'other.db'}")
            again = ended(begun(other, cluster))
            assert (again["reason"], again["entities_done"]) == ("complete", SITES), again


def meet(path: bytes) -> bytes:
    """Wait in a worker until another one is there too."""
    folder = Path(os.fsdecode(path))
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2, "the other worker")
    return b""


def _family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _assert_gone(family: list[psutil.Process]) -> None:
    assert len(family) > 2, "there were no workers"
    _, alive = psutil.wait_procs(family, timeout=GONE_S)
    left = [str(process) for process in alive]
    assert not left, left


def _assert_heard_on_loopback_only(family: list[psutil.Process]) -> None:
    heard = set()
    for process in family:
        try:
            connections = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        heard |= {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    assert heard
    assert heard <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
