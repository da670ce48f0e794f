"""Worker processes: they share the work, may be killed at any moment, and leave when told to."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import belaypin
from belaypin.pipeline import RunReport, Stop
from belaypin.pipeline.processes import Processes
from tests.pipelines.conftest import Place
from tests.pipelines.shop import ORDERS, PAGE, SITES, shop

ALL = SITES * ORDERS
PAGES = SITES * -(-ORDERS // PAGE)
COUNT = "SELECT count(*), count(DISTINCT id) FROM orders"
ROOT = Path(__file__).parents[2]


class Notes:
    """What the workers wrote down: a line for each fetch, with the worker's process id."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    @property
    def pids(self) -> set[int]:
        return {int(line.split()[0]) for line in self.lines}

    @property
    def fetches(self) -> list[str]:
        return [line.partition(" ")[2] for line in self.lines]

    @property
    def orders(self) -> int:
        """How many orders the pages had that were fetched."""
        starts = [int(fetch.split()[1].replace("None", "0")) for fetch in set(self.fetches)]
        return sum(min(PAGE, ORDERS - start) for start in starts)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: len(self.lines) >= count, f"{count} fetches")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place) -> Notes:
    monkeypatch.setenv("SHOP_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("SHOP_DIALECT", "postgres" if place.is_postgres else "sqlite")
    monkeypatch.chdir(ROOT)
    return Notes(tmp_path / "notes")


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 200) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def sites() -> list[str]:
    return [f"site:{n}" for n in range(SITES)]


def test_all_is_read_once_by_two_processes(place: Place, notes: Notes) -> None:
    report = shop.run(place.url, engine="processes:2", batch=1)
    assert (report.reason, report.exit_code) == ("complete", 0), report
    assert place.look(COUNT) == [(ALL, ALL)]
    assert place.look("SELECT count(*) FROM sites") == [(SITES,)]
    assert report.streams["orders"].new == ALL
    assert len(notes.fetches) == len(set(notes.fetches)) == PAGES
    assert os.getpid() not in notes.pids
    assert not any(map(is_alive, notes.pids))


def test_a_pool_of_the_users_own_will_do(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = environment(tmp_path, monkeypatch, "")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        report = shop.run(sqlite_place.url, engine=pool, batch=2)
    assert (report.reason, report.exit_code) == ("complete", 0), report
    assert sqlite_place.look(COUNT) == [(ALL, ALL)]
    assert os.getpid() not in notes.pids


def test_a_worker_that_dies_in_a_commit_loses_and_doubles_nothing(
    place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_BEHAVIOUR", "die")
    report = shop.run(place.url, engine="processes:2", batch=2)
    assert (report.reason, report.entities_done) == ("complete", SITES), report
    assert place.look(COUNT) == [(ALL, ALL)]
    assert len(notes.fetches) == PAGES + 1  # the page in hand again, and no other


def test_an_item_that_kills_its_workers_is_quarantined(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path, monkeypatch, "segfault")
    report = shop.run(sqlite_place.url, engine="processes:2")
    assert (report.reason, report.entities_done) == ("complete", SITES), report
    assert sqlite_place.look(COUNT) == [(ALL - 1, ALL - 1)]
    with sqlite_place.open() as store:
        (killer,) = store.failures("shop", status="quarantined")
    assert killer.item_id == "site:1-13"


def test_workers_killed_at_random_lose_and_double_nothing(
    place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
    kills = kill_workers(place, notes, random.Random(1), 4)
    assert kills >= 2
    # A kill costs the page in hand; a worker that dies before its first fetch costs none.
    assert len(notes.fetches) <= PAGES + kills


def kill_workers(
    place: Place, notes: Notes, chance: random.Random, kills: int, rounds: int = 0
) -> int:
    """Run the shop on new sites, killing workers that are at work; return how many were killed."""
    engine, done = Processes(2), threading.Event()
    killed: set[int] = set()

    def kill() -> None:
        while len(killed) < kills and not done.wait(chance.uniform(0.05, 0.3)):
            at_work = sorted({*engine.pids} & notes.pids - killed)
            if at_work:
                killed.add(pid := chance.choice(at_work))
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        fresh = [f"site:{rounds}{n}" for n in range(SITES)]
        report = shop.run(place.url, engine=engine, batch=1, entities=fresh)
    finally:
        done.set()
        killer.join()
    assert report.reason == "complete", report
    everything = ALL * (rounds + 1)
    assert place.look(COUNT) == [(everything, everything)]
    return len(killed)


# --- stopping -------------------------------------------------------------------------------------


def begun(place: Place, engine: str, grace_s: float = 10) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.pipelines.run_shop", place.url, engine, str(grace_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str]) -> dict[str, Any]:
    printed, errors = run.communicate(timeout=200)
    assert not errors, errors
    report: dict[str, Any] = json.loads(printed)
    return report


ENGINES = ["serial", "threads:2", "processes:2"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_signal_ends_a_run_after_the_pages_in_hand(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    notes = environment(tmp_path, monkeypatch, "slow")
    run = begun(sqlite_place, engine)
    notes.wait_for(random.Random(engine).randrange(3, 20))
    if engine == "serial":
        run.send_signal(signal.SIGTERM)
    else:  # as a terminal does with Ctrl-C
        os.killpg(run.pid, signal.SIGINT)
    report = ended(run)
    assert (run.returncode, report["reason"], report["exit_code"]) == (3, "stopped", 3)
    assert report["remaining"] is None or report["remaining"] > 0
    assert not any(map(is_alive, notes.pids))
    ((rows, distinct),) = sqlite_place.look(COUNT)
    assert rows == distinct == report["streams"]["orders"]["new"]
    assert rows == notes.orders  # every page that was fetched
    assert leases_are_free(sqlite_place)
    finish(sqlite_place)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_that_hangs_ends_when_its_grace_is_over(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    notes = environment(tmp_path, monkeypatch, "hang")
    run = begun(sqlite_place, engine, grace_s=1)
    wait_until(lambda: f"site:1 {PAGE}" in notes.fetches, "the hanging page")
    begun_s = time.monotonic()
    run.send_signal(signal.SIGTERM)
    report = ended(run)
    assert time.monotonic() - begun_s < 20
    assert (run.returncode, report["reason"]) == (3, "stopped")
    assert not any(map(is_alive, notes.pids))
    finish(sqlite_place)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_second_signal_ends_it_at_once(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    notes = environment(tmp_path, monkeypatch, "hang")
    run = begun(sqlite_place, engine, grace_s=100)
    wait_until(lambda: f"site:1 {PAGE}" in notes.fetches, "the hanging page")
    run.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    run.send_signal(signal.SIGTERM)
    assert run.wait(timeout=30) == -signal.SIGTERM
    run.communicate()
    wait_until(lambda: not any(map(is_alive, notes.pids)), "the workers to be gone", 10)
    finish(sqlite_place)


def test_workers_do_not_outlive_their_runner(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = environment(tmp_path, monkeypatch, "slow")
    run = begun(sqlite_place, "processes:2")
    notes.wait_for(5)
    run.kill()
    run.communicate()
    wait_until(lambda: not any(map(is_alive, notes.pids)), "the workers to be gone", 20)
    finish(sqlite_place)


def test_a_worker_told_to_stop_by_somebody_else_leaves_its_batch_to_others(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = environment(tmp_path, monkeypatch, "slow")
    run = begun(sqlite_place, "processes:2")
    notes.wait_for(5)
    os.kill(next(iter(notes.pids)), signal.SIGTERM)
    report = ended(run)
    assert (run.returncode, report["reason"]) == (0, "complete")
    assert sqlite_place.look(COUNT) == [(ALL, ALL)]


def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str) -> Notes:
    monkeypatch.setenv("SHOP_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("SHOP_BEHAVIOUR", behaviour)
    return Notes(tmp_path / "notes")


def leases_are_free(place: Place) -> bool:
    return place.look("SELECT count(*) FROM belaypin_lease WHERE expires_us > 0") == [(0,)]


def finish(place: Place) -> None:
    """Another run does what was left; nothing is lost or doubled."""
    report = shop.run(place.url, engine="serial")
    assert (report.reason, report.exit_code) == ("complete", 0), report
    assert place.look(COUNT) == [(ALL, ALL)]


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
def test_signals_at_random_moments_lose_and_double_nothing(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    record_property: Callable[[str, Any], None],
) -> None:
    environment(tmp_path, monkeypatch, "slow")
    monkeypatch.setenv("SHOP_DIALECT", "postgres" if place.is_postgres else "sqlite")
    monkeypatch.setenv("SHOP_SITES", str(many := 40))
    chance, stops = random.Random(), 0
    while True:
        run = begun(place, engine)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=chance.uniform(0.5, 4))
        for _ in range(chance.choice([1, 1, 2])):  # the second one ends it at once
            run.send_signal(chance.choice([signal.SIGTERM, signal.SIGINT]))
            time.sleep(chance.uniform(0, 0.1))
        run.communicate(timeout=200)
        # Before it has taken the signals over, and at the second one, they do what they always do.
        assert run.returncode in (0, 1, 3, -signal.SIGTERM, -signal.SIGINT)
        stops += run.returncode != 0
        if run.returncode == 0 or stops == 25:
            break
    monkeypatch.setenv("SHOP_BEHAVIOUR", "")
    assert ended(begun(place, engine))["exit_code"] == 0
    assert place.look(COUNT) == [(many * ORDERS, many * ORDERS)]
    name = place.url.partition(":")[0]
    record_property("note", f"{engine} on {name}: {stops} signals, 0 lost, 0 doubled")


@pytest.mark.long
def test_many_workers_killed_at_random_lose_and_double_nothing(
    place: Place, notes: Notes, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    monkeypatch.setenv("SHOP_BEHAVIOUR", "slow")
    killed = rounds = 0
    while killed < 60:
        notes.path.unlink(missing_ok=True)
        kills = kill_workers(place, notes, random.Random(), 6, rounds)
        rounds += 1
        assert len(notes.fetches) <= PAGES + kills
        killed += kills
    name = place.url.partition(":")[0]
    note = f"{killed} kills, 0 lost, 0 doubled, a page fetched again for each at most"
    record_property("note", f"processes:2 on {name}: {note}")


# --- the runner's part ------------------------------------------------------------------------------


def test_a_pipeline_that_no_process_could_find_is_refused(sqlite_place: Place) -> None:
    hidden = belaypin.Pipeline("hidden", store=sqlite_place.url)
    hidden.watch("page")(lambda entity: {})
    hidden.item("page")(lambda tx, page: None)
    with pytest.raises(belaypin.UsageError, match="no attribute of the module"):
        hidden.run(engine="processes:2", entities=["a"])


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        "import belaypin\n"
        "p = belaypin.Pipeline('app', store='sqlite:///app.db')\n"
        "p.watch('page')(lambda entity: {'n': entity})\n"
        "p.item('page')(lambda tx, page: tx.execute('SELECT 1'))\n"
        "print(p.run(engine='processes:1', entities=[1, 2]))\n"
    )
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert 'under `if __name__ == "__main__":`' in run.stderr.splitlines()[-1]


def test_a_stop_from_another_thread_ends_the_processes(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes, stop = environment(tmp_path, monkeypatch, "slow"), Stop()

    def stop_soon() -> None:
        notes.wait_for(5)
        stop.set()

    threading.Thread(target=stop_soon).start()
    report: RunReport = shop.run(sqlite_place.url, engine="processes:2", stop=stop)
    assert (report.reason, report.exit_code) == ("stopped", 3)
