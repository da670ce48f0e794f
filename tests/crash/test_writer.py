"""A writer whose process is killed, told to end, ends by itself; and whose COMMITs go unanswered."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

import belaypin
from tests.crash import saver
from tests.crash.outside import Outside
from tests.crash.proxy import Cut, Proxy, through_a_proxy

KILLS = 3
PATIENCE_S = 30
FRAME_OVERHEAD_BYTES = 20
DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgres"])


@pytest.fixture
def url(database: str, sqlite_url: str, request: pytest.FixtureRequest) -> str:
    if database == "sqlite":
        return sqlite_url
    found: str = request.getfixturevalue("postgres_url")
    return found


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    with through_a_proxy(postgres_url) as found:
        yield found


def _stored(url: str) -> dict[int, int]:
    """The state of each thread's key, by other means; each has the version that it was saved as."""
    query = "SELECT entity, version, state FROM belaypin_checkpoint WHERE state IS NOT NULL"
    with closing(Outside(url)) as outside:
        rows = outside.run(query)
    states = {}
    for entity, version, frame in rows:
        state = msgspec.json.decode(bytes(frame)[FRAME_OVERHEAD_BYTES:])
        assert version == state + 1, f"{entity}: version {version} holds the state {state}"
        states[int(entity.removeprefix("saver:"))] = state
    return states


def _noted(ledger: Path) -> dict[int, int]:
    """The newest state of each thread whose save had returned."""
    newest: dict[int, int] = {}
    for line in ledger.read_text().splitlines() if ledger.exists() else ():
        thread, number = map(int, line.split())
        assert number > newest.get(thread, -1)
        newest[thread] = number
    return newest


def _start(url: str, *arguments: object, pipe: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, saver.__file__, url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe)


@DATABASES
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_process_that_is_killed_loses_no_more_than_it_says(
    url: str, tmp_path: Path, durability: str, record_property: object
) -> None:
    bound = saver.MAX_ITEMS if durability == "async" else 0
    before: dict[int, int] = {}
    for kill in range(KILLS):
        ledger = tmp_path / f"ledger-{kill}"
        with _start(url, durability, ledger, "never") as process:
            deadline_s = time.monotonic() + PATIENCE_S
            while not ledger.exists() or ledger.stat().st_size < 400 * (kill + 1):
                assert process.poll() is None
                assert time.monotonic() < deadline_s
                time.sleep(0.003)
            process.kill()
        noted, stored = _noted(ledger), _stored(url)
        lost = sum(max(0, noted[n] - stored.get(n, -1)) for n in noted)
        assert lost <= bound, f"{lost} of {noted} are not there"
        assert all(stored[n] >= state for n, state in before.items()), "older over newer"
        before = stored


@DATABASES
def test_sigterm_drains_and_reports(url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with _start(url, "async", ledger, "sigterm", 12, pipe=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM, "the default handler had its turn"
    assert said.startswith("belaypin: SIGTERM: 48 saved in ")
    assert "0 failed, 0 pending" in said
    assert _stored(url) == _noted(ledger) == dict.fromkeys(range(saver.THREADS), 11)


@DATABASES
def test_the_end_of_the_process_drains(url: str, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with _start(url, "async", ledger, "exit", 12, pipe=subprocess.PIPE) as process:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, said) == (0, b"")
    assert _stored(url) == _noted(ledger) == dict.fromkeys(range(saver.THREADS), 11)


def test_sigterm_goes_on_to_the_handler_that_was_there(sqlite_url: str) -> None:
    came: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with belaypin.open(sqlite_url) as store:
            options = {"max_delay_s": 60, "drain_on_sigterm": True}
            with store.writer(durability="async", **options) as writer:  # type: ignore[arg-type]
                writer.save("crash", 1)
                signal.raise_signal(signal.SIGTERM)
                assert writer.report.saved == 1
                writer.save("crash", 2)  # the program may finish what it does
            assert writer.report.saved == 2
            signal.raise_signal(signal.SIGTERM)
        assert came == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_a_handler_needs_the_main_thread(sqlite_url: str) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        with belaypin.open(sqlite_url) as store:
            try:
                store.writer(drain_on_sigterm=True)
            except belaypin.UsageError as error:
                errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


@pytest.mark.parametrize("cut", ["before", "after", "during"])
@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_connection_cut_around_a_commit(
    proxied: tuple[Proxy, str], cut: Cut, durability: str
) -> None:
    proxy, url = proxied
    with belaypin.open(url) as store:
        store.save(saver.key_of(0), 0)
        with store.writer(durability=durability) as writer:  # type: ignore[arg-type]
            for number in range(1, 25):
                if number % 4 == 0:
                    writer.flush()
                    proxy.cut_at(cut, 1)
                saved = writer.save(saver.key_of(0), number)
                assert saved in (number + 1, None)
        assert writer.report.saved == 24
        assert writer.report.retried >= (6 if cut == "before" else 0)
        if cut == "after":
            assert writer.report.retried == 0, "what took place was saved again"
    assert _stored(url) == {0: 24}


def test_a_server_that_refuses_for_a_while(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    with belaypin.open(url) as store:
        with store.writer(durability="async", max_delay_s=0.05) as writer:
            writer.save(saver.key_of(0), 0)
            writer.flush()
            proxy.refuses = True
            proxy.cut_at("after", 1)  # and now nobody can be asked what became of it
            for number in range(1, 6):
                writer.save(saver.key_of(0), number)
            time.sleep(0.3)
            assert writer.report.pending == 5
            proxy.refuses = False
        assert writer.report.saved == 6
    assert _stored(url) == {0: 5}
