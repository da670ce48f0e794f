"""Stores that are busy or full for real: what a command says of them, and its exit code."""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

import belaypin
from tests.cli.shop import PROGRAM, call
from tests.newcomer import DOUBLED, OLD, READINGS, STATIONS, count, prepare

NO_STORE = 4

IMPATIENT = """
from belaypin.backends.sqlite import SqliteBackend
SqliteBackend.__init__.__kwdefaults__["busy_timeout_s"] = 0.3
from belaypin.cli import main
main()
"""
"""The command line, with a hundredth of the patience."""

SMALL = """
from belaypin.backends.sqlite import SqliteBackend
connect = SqliteBackend._connect
def small(self):
    connection = connect(self)
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    return connection
SqliteBackend._connect = small
from belaypin.cli import main
main()
"""
"""The command line, on a disk with room for two more pages of the database."""


def kind_of(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == NO_STORE, (done.stdout, done.stderr)
    error = json.loads(done.stderr)["error"]
    assert error["exit"] == NO_STORE
    assert "Traceback" not in done.stderr
    kind: str = error["kind"]
    return kind


def changed(code: str, *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of a command line that was changed by some code first."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# --- busy -----------------------------------------------------------------------------------------

HOLDER = """
import sqlite3, sys
own = sqlite3.connect(sys.argv[1], isolation_level=None)
own.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another process is in the middle of a transaction, for as long as the block runs."""
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.stdin is not None
        holder.stdin.close()


@pytest.mark.parametrize("words", ["status social", "savepoint social now"])
def test_a_file_that_another_process_has_locked(words: str, folder: Path) -> None:
    file = folder / "app.db"
    with belaypin.open(f"sqlite:///{file}") as store:
        store.save("social", {"n": 1})
    asked = [*words.split(), "--json", "--store", f"sqlite:///{file}"]
    with locked(file):
        assert kind_of(changed(IMPATIENT, *asked, folder=folder)) == "StoreBusy"
    assert changed(IMPATIENT, *asked, folder=folder).returncode == 0


@pytest.mark.long
def test_a_file_that_stays_locked_for_longer_than_anybody_waits(folder: Path) -> None:
    file = folder / "app.db"
    belaypin.open(f"sqlite:///{file}").close()
    with locked(file):
        began_s = time.monotonic()
        done = call("init", "--json", store=f"sqlite:///{file}")
        assert kind_of(done) == "StoreBusy"
        assert 25 < time.monotonic() - began_s < 60


def test_a_table_that_another_session_has_locked(postgres_url: str) -> None:
    belaypin.open(postgres_url).close()
    url = _with_option(postgres_url, "lock_timeout=300ms")
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE belaypin_checkpoint IN ACCESS EXCLUSIVE MODE")
        assert kind_of(call("savepoint", "social", "now", "--json", store=url)) == "StoreBusy"
        assert kind_of(call("status", "social", "--json", store=url)) == "StoreBusy"
    assert call("status", "social", "--json", store=url).returncode == 0


# --- full -----------------------------------------------------------------------------------------


def test_a_run_on_a_full_disk_goes_on_once_there_is_room(folder: Path) -> None:
    prepare(folder)
    file = folder / "weather.db"
    words = ("run", "weather:weather", "--json", "--store", "sqlite:///weather.db")
    assert call("init", store="sqlite:///weather.db").returncode == 0
    full = changed(SMALL, *words, folder=folder)
    report = json.loads(full.stdout)
    assert (full.returncode, report["exit_code"], report["reason"]) == (4, 4, "failed")
    assert "StoreFull" in str(report["errors"])
    assert report["items"] == count(file, "SELECT count(*) FROM readings") - OLD
    assert call(*words).returncode == 0
    assert count(file, "SELECT count(*) FROM readings") == STATIONS * READINGS + OLD
    assert count(file, DOUBLED) == 0


def _with_option(url: str, setting: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options={quote(f'-c {setting}')}"


@pytest.mark.long
def test_a_disk_that_is_full(folder: Path) -> None:
    """A small one of our own: a tmpfs in a namespace, which is gone with its last process."""
    prepare(folder)
    program = shlex.join(PROGRAM)
    script = f"""
        set -u
        mkdir disk && mount -t tmpfs -o size=400k none disk || exit 99
        cp weather.db disk && {program} init --store sqlite:///disk/weather.db || exit 98
        head -c 1m /dev/zero > disk/filler
        {program} run weather:weather --store sqlite:///disk/weather.db --json > full.json
        echo $? > code
        {program} savepoint weather now --json --store sqlite:///disk/weather.db 2> error.json
        echo $? >> code
        rm disk/filler
        {program} run weather:weather --store sqlite:///disk/weather.db || exit 97
        cp disk/weather.db .
    """
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "code").read_text().split() == ["4", "4"]
    assert "StoreFull" in (folder / "full.json").read_text()
    assert "StoreFull" in (folder / "error.json").read_text()
    with closing(sqlite3.connect("weather.db")) as eyes:
        assert eyes.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert count(folder / "weather.db", DOUBLED) == 0
    assert count(folder / "weather.db", "SELECT count(*) FROM readings") == (
        STATIONS * READINGS + OLD
    )
