"""The servers that the other tests stand on: fresh, killed, started again, and gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis

from tests.services import Keeper, ServiceMissing
from tests.services.fixtures import DurablePostgres
from tests.services.programs import postgres_programs

ROOT = Path(__file__).resolve().parents[2]


def _tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relkind = 'r'").fetchall()
    return [name for (name,) in rows if not name.startswith(("pg_", "sql_"))]


@pytest.mark.parametrize("run", [1, 2])
def test_a_database_is_fresh(postgres_bare_url: str, postgres_url: str, run: int) -> None:
    assert _tables(postgres_bare_url) == []
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM belaypin_migration").fetchone() != (0,)
        assert connection.execute("SELECT count(*) FROM belaypin_checkpoint").fetchone() == (0,)
    assert "left_behind" not in _tables(postgres_url)
    for url in (postgres_bare_url, postgres_url):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE left_behind (run int)")


@pytest.mark.parametrize("how", ["kill9", "stop_immediate"])
def test_what_was_committed_outlives_a_kill(postgres_durable: DurablePostgres, how: str) -> None:
    with psycopg.connect(postgres_durable.url) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.execute("CREATE TABLE kept (n int)")
    with psycopg.connect(postgres_durable.url) as connection:
        connection.execute("INSERT INTO kept VALUES (1)")
        getattr(postgres_durable, how)()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_durable.url)
    postgres_durable.start()
    with psycopg.connect(postgres_durable.url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


@pytest.mark.parametrize("run", [1, 2])
def test_redis_is_empty(redis_url: str, run: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_run_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    urls = tmp_path / "url"
    # cat ends with us, should we be killed ourselves.
    say = f"echo $BELAYPIN_TEST_POSTGRES > {urls}.part; mv {urls}.part {urls}; exec cat"
    environment = {k: v for k, v in os.environ.items() if k != "BELAYPIN_TEST_POSTGRES"}
    command = [sys.executable, "-m", "tests.services", "--", "sh", "-c", say]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, start_new_session=True
    ) as run:
        try:
            _until(urls.exists)
            url = urls.read_text().strip()
            folder = Path(url.partition("host=")[2])
            psycopg.connect(url).close()
            assert folder.is_dir()
            os.killpg(run.pid, number)
            run.wait(timeout=30)
        finally:
            run.kill()
    _until(lambda: not folder.exists())
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def _until(true: Callable[[], bool], patience_s: float = 30.0) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_missing_server_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("tests.services.programs._postgres_folders", lambda: iter(()))
    monkeypatch.setenv("BELAYPIN_TEST_SERVICES", "found")
    keeper = Keeper()
    try:
        with pytest.raises(ServiceMissing, match="set BELAYPIN_TEST_POSTGRES to the URL"):
            postgres_programs(keeper)
    finally:
        keeper.close()
