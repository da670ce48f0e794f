"""Recovery under SIGKILL, by many processes at once, and with the database killed under it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

import belaypin
from belaypin.testing.sigkill import Script, Verdict, campaign
from tests.crash.outside import Outside
from tests.crash.recoverer import DEATHS, PIPELINE, mine
from tests.services.fixtures import DurablePostgres

Note = Callable[[str, object], None]

RECOVERER = Path(__file__).with_name("recoverer.py")
PAGES, PAGE_SIZE = 4, 5
PROCESSES = 4
PATIENCE_S = 60


class Wreck:
    """A store as a crash leaves it: windows open, workers dead, one that failed."""

    def __init__(self, url: str, log: Path, entities: int) -> None:
        self.url = url
        self.log = log
        self.names = [f"user:{n}" for n in range(entities)]
        self.mark = "%s" if url.startswith("postgresql") else "?"
        with belaypin.open(url) as store:
            store.execute("CREATE TABLE effect (entity TEXT, id BIGINT)")
            for number, name in enumerate(self.names):
                self._wreck(store, name, number % 4)
            assert store.plan(deaths=DEATHS).due == entities

    def script(self, pause_s: float = 0) -> Script:
        args = (self.url, str(self.log), str(PAGES), str(PAGE_SIZE), str(pause_s))
        return Script(RECOVERER, args)

    def runs(self) -> Counter[str]:
        """How often the work of each entity was begun."""
        return Counter(self.log.read_text().split()) if self.log.exists() else Counter()

    def verify(self) -> Verdict:
        """Count from the outside what is lost and doubled; nothing is left to recover."""
        with closing(Outside(self.url)) as outside:
            rows = Counter(outside.run("SELECT entity, id FROM effect"))
            left = outside.run("SELECT count(*) FROM belaypin_lease WHERE expires_us <> 0")
        assert left == [(0,)]
        wanted = {(name, n) for name in self.names for n in range(PAGES * PAGE_SIZE)}
        assert rows.keys() <= wanted
        with belaypin.open(self.url) as store:
            assert store.plan(deaths=DEATHS).total == 0
            assert store.verify().ok
        return Verdict(len(wanted - rows.keys()), rows.total() - len(rows))

    def _wreck(self, store: belaypin.Store, name: str, kind: int) -> None:
        """Left half way; failed half way; dead half way; dead before it committed anything."""
        lease = store.lease(PIPELINE, name, retry=belaypin.Retry(backoff=0))
        if kind == 0:
            with lease:
                mine(lease, PAGES, PAGE_SIZE, upto=2, mark=self.mark)
        elif kind == 1:
            with suppress(OSError), lease:
                mine(lease, PAGES, PAGE_SIZE, upto=1, mark=self.mark)
                raise OSError("hung up")
        else:
            lease.acquire()
            if kind == 2:
                mine(lease, PAGES, PAGE_SIZE, upto=1, mark=self.mark)
            store.execute(
                "UPDATE belaypin_lease SET owner = 'another machine', expires_us = 1,"
                f" renewed_us = 1 - ttl_us WHERE token = {lease.token}"
            )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    found: str = request.getfixturevalue("postgres_url")
    return found


def test_many_processes_recover_at_once_and_each_step_is_run_once(url: str, tmp_path: Path) -> None:
    wreck = Wreck(url, tmp_path / "log", entities=12)
    script = wreck.script(pause_s=0.02)
    command = [sys.executable, str(script.path), *script.args]
    workers = [subprocess.Popen(command, stdout=-3, stderr=-1) for _ in range(PROCESSES)]
    for worker in workers:
        _, told = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == 0, told.decode()
    assert wreck.runs() == Counter(wreck.names)
    assert wreck.verify() == (0, 0)


def wrecks(folder: Path, postgres_url: str | None) -> Iterator[Wreck]:
    number = 0
    while True:
        number += 1
        if postgres_url is not None:
            with closing(Outside(postgres_url)) as outside:
                outside.run("DROP SCHEMA public CASCADE")
                outside.run("CREATE SCHEMA public")
        url = postgres_url or f"sqlite:///{folder}/{number}.db"
        yield Wreck(url, folder / f"{number}.log", entities=4)


@pytest.mark.proof
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_recovery_is_killed_anywhere(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, record_property: Note
) -> None:
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    making = wrecks(tmp_path, postgres_url)
    made: list[Wreck] = []

    def fresh() -> list[Script]:
        made.append(next(making))
        return [made[-1].script()]

    few = postgres_url is not None
    report = campaign(
        fresh,
        lambda: made[-1].verify(),
        at_random=3,
        at_lines=5 if few else 10,
        at_statements=5 if few else 10,
    )
    assert (report.lost, report.doubled) == (0, 0)
    record_property("note", f"recovery, {database}: {report}")


class _Loop(threading.Thread):
    """Recovers again whenever that ended because the database went away, until nothing is left."""

    def __init__(self, script: Script) -> None:
        super().__init__(daemon=True)
        self.ends: Counter[str] = Counter()
        self._command = [sys.executable, str(script.path), *script.args]

    def run(self) -> None:
        while True:
            ran = subprocess.run(self._command, stdout=-3, stderr=-1, text=True, check=False)
            if ran.returncode == 0:
                return
            told = [line for line in ran.stderr.splitlines() if line.startswith("belaypin.errors.")]
            self.ends[told[-1].partition(":")[0] if told else ran.stderr[-2000:]] += 1
            time.sleep(0.05)


@pytest.mark.proof
def test_the_database_dies_during_recovery(
    tmp_path: Path, postgres_durable: DurablePostgres, record_property: Note
) -> None:
    wreck = Wreck(postgres_durable.url, tmp_path / "log", entities=12)
    loops = [_Loop(wreck.script(pause_s=0.3)) for _ in range(2)]
    for loop in loops:
        loop.start()
    for number in range(2):
        begun, patience_s = wreck.runs().total(), time.monotonic() + PATIENCE_S
        while wreck.runs().total() == begun and time.monotonic() < patience_s:
            time.sleep(0.02)
        (postgres_durable.stop_immediate if number % 2 else postgres_durable.kill9)()
        time.sleep(0.1)
        postgres_durable.start()
    for loop in loops:
        loop.join(PATIENCE_S)
        assert not loop.is_alive(), f"still at work, ended so far by {loop.ends}"
    ends = sum((loop.ends for loop in loops), Counter())
    assert set(ends) <= {"belaypin.errors.StoreUnavailable"}, ends
    assert wreck.verify() == (0, 0)
    record_property("note", f"PostgreSQL died twice under two recoveries, ended by {dict(ends)}")
