"""Sinks under SIGKILL, a full disk and a dead server: no item lost, none doubled, no half a file."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, nullcontext
from itertools import count
from pathlib import Path

import pytest

import belaypin
from belaypin.sinks import JsonLines, Recovered
from belaypin.testing.sigkill import Report, Script, Verdict, campaign, every_line
from tests.crash.outside import Outside
from tests.crash.sink_miner import PER_PAGE, seen

Note = Callable[[str, object], None]

MINER = Path(__file__).with_name("sink_miner.py")
MODULES = (
    "belaypin.sinks.disk",
    "belaypin.sinks.part",
    "belaypin.sinks.recovery",
    "belaypin.programs.files",
    "belaypin._sync.files",
)


class Mine:
    """Rounds of mining into files, each on a fresh store and folder."""

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        *,
        entities: int = 2,
        roles: int = 1,
        row_bytes: int = 9,
    ) -> None:
        self.folder = folder
        self.url = ""
        self.out = folder
        self.pages = 2
        self.entities = entities
        self._postgres_url = url
        self._roles = [f"role-{n}" for n in range(roles)]
        self._row_bytes = row_bytes
        self._rounds = count(1)

    def fresh(self) -> list[Script]:
        number = next(self._rounds)
        self.url = self._postgres_url or f"sqlite:///{self.folder / f'{number}.db'}"
        self.out = self.folder / f"out-{number}"
        self.out.mkdir()
        if self._postgres_url:
            with closing(Outside(self.url)) as outside:
                outside.run("DROP SCHEMA public CASCADE")
                outside.run("CREATE SCHEMA public")
        numbers = (str(self.entities), str(self.pages))
        start = (self.url, str(self.out), *numbers)
        row_bytes = str(self._row_bytes)
        return [Script(MINER, (*start, role, row_bytes)) for role in self._roles]

    def verify(self) -> Verdict:
        entities = [f"user:{n}" for n in range(self.entities)]
        wanted = {(e, n) for e in entities for n in range(self.pages * PER_PAGE)}
        found = seen(self.out)
        with belaypin.open(self.url) as store:
            report = JsonLines(self.out, name="posts").verify(store)
        assert not report.findings, f"{report}"
        assert report.rows == found.total()
        assert not [name for name in os.listdir(self.out) if name.startswith(".")]
        return Verdict(len(wanted - found.keys()), found.total() - len(found))


def check(report: Report, note: Note, what: str) -> None:
    assert (report.lost, report.doubled) == (0, 0)
    note("note", f"file sinks, {what}: {report}")


@pytest.mark.proof
def test_a_kill_at_every_line(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path, entities=1)
    report = every_line(mine.fresh, mine.verify, modules=MODULES)
    died_in = {place.partition(":")[0] for place in report.places}
    for module in ("sinks/part.py", "sinks/disk.py", "sinks/recovery.py", "programs/files.py"):
        assert module in died_in
    assert report.kills.total() > 100
    check(report, record_property, "every line, SQLite")


@pytest.mark.proof
def test_kills_anywhere_on_sqlite(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path)
    report = campaign(mine.fresh, mine.verify, at_random=1, at_lines=4, at_statements=10)
    check(report, record_property, "SQLite")


@pytest.mark.proof
def test_two_workers_in_one_folder(
    tmp_path: Path, postgres_url: str, record_property: Note
) -> None:
    mine = Mine(tmp_path, postgres_url, entities=2, roles=2)
    report = campaign(mine.fresh, mine.verify, at_random=1, at_lines=3, at_statements=7)
    check(report, record_property, "PostgreSQL, two workers")


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_part_of_a_dead_worker_is_deleted_though_nobody_took_its_lease(
    tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    mine = Mine(tmp_path, url)
    (script,) = mine.fresh()
    command = [sys.executable, str(script.path), *script.args, "hold"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.read(1) == b"."
        sink = JsonLines(mine.out, name="posts")
        with belaypin.open(mine.url) if url else nullcontext() as store:
            if store is not None:  # on SQLite we would wait for the worker's transaction
                assert sink.recover(store) == Recovered()
        (part,) = os.listdir(mine.out)
        worker.kill()
    with belaypin.open(mine.url) as store:
        assert sink.recover(store).deleted == (part,)
    assert os.listdir(mine.out) == []


# --- a full disk ------------------------------------------------------------------------------------


def run(script: Script, *, file_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    command = [sys.executable, str(script.path), *script.args]
    return subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("room", [310_000, 590_000, 899_900])
def test_a_file_that_may_not_grow(tmp_path: Path, room: int) -> None:
    mine = Mine(tmp_path, entities=1, row_bytes=300_000)
    (script,) = mine.fresh()
    refused = run(script, file_bytes=room)
    assert "StoreFull" in refused.stderr
    assert "Nothing was committed, and nothing is lost" in refused.stderr
    assert os.listdir(mine.out) == []
    assert run(script).returncode == 0
    assert mine.verify() == Verdict(0, 0)


# --- long -------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_campaign(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, record_property: Note
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else None
    mine = Mine(tmp_path, url, entities=4, roles=2)
    report = campaign(mine.fresh, mine.verify, at_random=50, at_lines=500, at_statements=500)
    check(report, record_property, database)
