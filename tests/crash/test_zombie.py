"""A worker that was paused for longer than its lease wakes up: it writes nothing any more."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

import belaypin
from belaypin.backends._sync.postgres import PostgresBackend
from tests.crash import zombie
from tests.crash.outside import Outside, own_table
from tests.crash.world import TABLES

ENTITY = "user:7"
FAILOVER_S = zombie.TTL_S + 1
PATIENCE_S = 30


@contextmanager
def _stopped_worker(url: str, where: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that has stopped itself; it is killed at the end if it still lives."""
    with closing(Outside(url)) as outside:
        outside.run(own_table("posts", TABLES["posts"], is_sqlite=outside.is_sqlite))
    with subprocess.Popen([sys.executable, zombie.__file__, url, ENTITY, where]) as worker:
        try:
            _, status = os.waitpid(worker.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status), f"the worker ended with {status}"
            yield worker
        finally:
            worker.kill()


def _rows(url: str) -> list[tuple[int, int]]:
    with closing(Outside(url)) as outside:
        return [(i, token) for i, token in outside.run("SELECT id, token FROM posts ORDER BY n")]


def _wake(worker: subprocess.Popen[bytes]) -> int:
    worker.send_signal(signal.SIGCONT)
    return worker.wait(PATIENCE_S)


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_worker_paused_between_its_commits(
    database: str, sqlite_url: str, postgres_url: str
) -> None:
    url = sqlite_url if database == "sqlite" else postgres_url
    with _stopped_worker(url, "fetch") as worker:
        started_s = time.monotonic()
        assert subprocess.call([sys.executable, zombie.__file__, url, ENTITY, "nowhere"]) == 0
        assert time.monotonic() - started_s < FAILOVER_S + 1  # and a Python's start
        done = _rows(url)
        assert sorted(item for item, _ in done) == list(range(6))
        assert _wake(worker) == zombie.FENCED
    assert _rows(url) == done, "a stale write was accepted"
    tokens = [token for _, token in done]
    assert tokens == sorted(tokens)
    assert len({*tokens}) == 2


def test_a_worker_paused_inside_a_transaction_on_sqlite(sqlite_url: str) -> None:
    """It holds the file: the others wait, and are told; woken, it commits, and no other one did."""
    with _stopped_worker(sqlite_url, "transaction") as worker:
        backend = belaypin.open(sqlite_url)._backend
        with pytest.raises(belaypin.StoreBusy):
            type(backend)(sqlite_url.removeprefix("sqlite:///"), busy_timeout_s=0.5).begin(  # type: ignore[call-arg,attr-defined]
                write=True, owner=1
            )
        backend.close()
        assert _wake(worker) == 0
    assert sorted(item for item, _ in _rows(sqlite_url)) == list(range(6))


def test_a_worker_paused_inside_a_transaction_on_postgres(postgres_url: str) -> None:
    """Its open transaction holds the lease's row, but not for ever: the successor gets through."""
    with _stopped_worker(postgres_url, "transaction") as worker:
        command = [sys.executable, zombie.__file__, postgres_url, ENTITY, "nowhere"]
        assert subprocess.run(command, check=False, timeout=PATIENCE_S).returncode == 0
        done = _rows(postgres_url)
        assert sorted(item for item, _ in done) == list(range(6))
        assert _wake(worker) != 0
    assert _rows(postgres_url) == done, "a stale write was accepted"


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_who_waits_behind_a_locked_row_waits_no_longer_than_asked(
    postgres_url: str, colour: str
) -> None:
    """Some transaction stands still with the lease's row, and no server ends its session."""
    lock = "SELECT 1 FROM belaypin_lease FOR UPDATE"
    with belaypin.open(postgres_url) as holder, psycopg.connect(postgres_url) as stalled:
        with holder.lease("crash", ENTITY):
            stalled.execute(lock)
            started_s = time.monotonic()
            with pytest.raises(belaypin.LeaseHeld, match="is held by"):
                await _take(postgres_url, colour, wait_s=0.5)
            assert 0.4 < time.monotonic() - started_s < 2.5
            stalled.rollback()
        stalled.execute(lock)
        with pytest.raises(belaypin.LeaseHeld, match="still has its row locked"):
            await _take(postgres_url, colour, wait_s=0)
        stalled.rollback()
        await _take(postgres_url, colour, wait_s=0)


async def _take(url: str, colour: str, wait_s: float) -> None:
    if colour == "sync":
        with belaypin.open(url) as store, store.lease("crash", ENTITY, wait_s=wait_s):
            return
    async with await belaypin.aopen(url) as opened, opened.lease("crash", ENTITY, wait_s=wait_s):
        return


def test_a_write_waits_for_a_locked_row_but_not_for_ever(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("belaypin.backends._sync.postgres.PostgresBackend.__init__", _IMPATIENT)
    with belaypin.open(postgres_url) as store, psycopg.connect(postgres_url) as stalled:
        store.save("crash", 1)
        stalled.execute("SELECT 1 FROM belaypin_checkpoint FOR UPDATE")
        with pytest.raises(belaypin.StoreBusy, match="lock timeout"):
            store.save("crash", 2)
        stalled.rollback()
        assert store.save("crash", 2) == 2
        limit = store.execute("SELECT current_setting('lock_timeout')").fetchone()
        assert limit == ("200ms",)


_IMPATIENT = functools.partialmethod(PostgresBackend.__init__, lock_timeout_s=0.2)


def test_a_limit_of_the_users_own_stands(postgres_url: str) -> None:
    for options, limit in (("", "30s"), ("-clock_timeout%3D5s", "5s")):
        with belaypin.open(f"{postgres_url}&options={options}") as store:
            found = store.execute("SELECT current_setting('lock_timeout')").fetchone()
            assert found == (limit,)
