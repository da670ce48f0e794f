"""Operations and the outbox under crashes: killed workers, and COMMITs whose answer is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import belaypin
from belaypin.testing import FakeClock
from tests.crash import messenger
from tests.crash.messenger import ATTEMPTS, COUNT, TTL_S
from tests.crash.proxy import Cut, Proxy, through_a_proxy

KEYS = [f"m{n}" for n in range(COUNT)]
CUTS: list[Cut] = ["before", "after", "during"]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def proxied(postgres_url: str) -> Iterator[tuple[Proxy, str]]:
    with through_a_proxy(postgres_url) as found:
        yield found


# --- killed workers -------------------------------------------------------------------------------


def _sent(url: str) -> None:
    with belaypin.open(url) as store:
        for key in KEYS:
            store.send("mail", key, key=key)


def _worker(url: str, file: Path, where: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, messenger.__file__, url, str(file), where])


def _undelivered(url: str) -> list[tuple[str, int]]:
    with belaypin.open(url) as store:
        assert store.verify().ok
        return [(message.key, message.attempt) for message in store.undelivered()]


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_worker_that_is_killed_loses_nothing(url: str, tmp_path: Path, where: str) -> None:
    file = tmp_path / "effects"
    _sent(url)
    with _worker(url, file, where) as victim:
        assert victim.wait(30) == -signal.SIGKILL
    assert _undelivered(url) == [("m3", 1), ("m4", 0), ("m5", 0)]
    with belaypin.open(url) as store, file.open("a") as sink:
        store.deliver("mail", lambda message: print(message.key, file=sink), wait_s=2 * TTL_S)
    assert _undelivered(url) == []
    # Twice only what took effect and could not be marked, and with the same key.
    twice = {"m3": 1} if where == "after" else {}
    assert Counter(file.read_text().split()) == Counter(KEYS) + Counter(twice)


def test_a_message_that_kills_every_worker_is_put_aside(url: str, tmp_path: Path) -> None:
    file = tmp_path / "effects"
    _sent(url)
    number = 0
    while True:
        number += 1
        with _worker(url, file, "before") as victim:
            if victim.wait(30) == 0:
                break
        with belaypin.open(url) as store:  # as if its time were over
            store.execute("UPDATE belaypin_outbox SET expires_us = 1 WHERE expires_us > 0")
    assert number == 1 + ATTEMPTS
    assert _undelivered(url) == [("m3", number)]
    assert sorted(file.read_text().split()) == [key for key in KEYS if key != "m3"]


KILLED_IN_ITS_BLOCK = """
import os, signal, sys, belaypin
store = belaypin.open(sys.argv[1])
with store.once("op") as op:
    op.tx.execute("INSERT INTO effect VALUES (1)")
    op.tx.send("mail", "of the dead", key="op")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_operation_that_was_killed_is_known_and_goes_on(url: str) -> None:
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE effect (id INTEGER)")
        killed = subprocess.run([sys.executable, "-c", KILLED_IN_ITS_BLOCK, url], check=False)
        assert killed.returncode == -signal.SIGKILL
        found = store.operation("op")
        assert found is not None
        assert (found.status, found.attempt_count) == ("running", 1)
        with store.once("op") as op:  # at once: its owner was a process of this machine
            assert op.attempt == 2
            op.tx.execute("INSERT INTO effect VALUES (2)")
        found = store.operation("op")
        assert found is not None
        assert [attempt.outcome for attempt in found.attempts] == ["lost", "done"]
        assert store.execute("SELECT id FROM effect").rows == [(2,)]
        assert store.undelivered() == []


# --- COMMITs whose answer is lost -----------------------------------------------------------------


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("is_prepared", [False, True], ids=["fresh", "prepared"])
def test_a_claim_whose_commit_is_unknown_is_claimed_after_all(
    proxied: tuple[Proxy, str], cut: Cut, is_prepared: bool
) -> None:
    proxy, url = proxied
    with belaypin.open(url) as store:
        for n in range(8 if is_prepared else 0):  # enough for the driver to prepare its COMMIT
            store.save("warm", n)
        proxy.cut_at(cut, 1)
        with store.once("op") as op:
            assert proxy.cuts == 1
            assert op
            assert op.attempt == 1
            op.result = "done"
        found = store.operation("op")
    assert found is not None
    assert (found.result, found.attempt_count, len(found.attempts)) == ("done", 1, 1)


def test_a_completion_whose_commit_took_place_is_done(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE effect (id INTEGER)")
        with store.once("op") as op:
            op.tx.execute("INSERT INTO effect VALUES (1)")
            op.result = "done"
            proxy.cut_at("after", 1)
        assert proxy.cuts == 1  # and nobody noticed
        found = store.operation("op")
        assert found is not None
        assert (found.status, found.result, found.attempt_count) == ("done", "done", 1)
        assert store.execute("SELECT count(*) FROM effect").rows == [(1,)]


def test_a_completion_whose_commit_did_not_take_place_fails(proxied: tuple[Proxy, str]) -> None:
    proxy, url = proxied

    def work(store: belaypin.Store) -> None:
        with store.once("op") as op:
            op.tx.execute("INSERT INTO effect VALUES (1)")
            proxy.cut_at("before", 1)

    with belaypin.open(url) as store:
        store.execute("CREATE TABLE effect (id INTEGER)")
        with pytest.raises(belaypin.StoreUnavailable):
            work(store)
        found = store.operation("op")
        assert found is not None
        assert found.status == "failed"
        assert found.error is not None
        assert found.error.startswith("StoreUnavailable")
        with store.once("op") as op:
            assert op.attempt == 2
            op.tx.execute("INSERT INTO effect VALUES (1)")
        assert store.execute("SELECT count(*) FROM effect").rows == [(1,)]


def test_when_nobody_can_be_asked_a_completion_raises(
    proxied: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("belaypin._sync.once._OUTCOME_PAUSE_S", 0.01)
    monkeypatch.setattr("belaypin.backends._sync.postgres._CONNECT_TIMEOUT_S", 0.2)
    proxy, url = proxied
    store = belaypin.open(url)

    def work() -> None:
        with store.once("op", ttl_s=30) as op:
            op.result = 1
            proxy.refuses = True
            proxy.cut_at("after", 1)

    with pytest.raises(belaypin.StoreUnavailable) as raised:
        work()
    assert any("could not be recorded" in note for note in raised.value.__notes__)
    proxy.refuses = False
    with store.once("op") as op:
        assert not op, "it took place, and a call that asks again learns it"
        assert op.result == 1
    store.close()


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_message_is_lost_around_any_commit(
    proxied: tuple[Proxy, str], cut: Cut, number: int
) -> None:
    proxy, url = proxied
    got: Counter[str] = Counter()

    def handler(message: belaypin.Message) -> None:
        got[message.key] += 1

    clock = FakeClock()
    with belaypin.open(url, clock=clock) as store:
        for key in KEYS[:2]:
            store.send("mail", key, key=key)
        proxy.cut_at(cut, number)
        for _ in range(4):
            try:
                store.deliver("mail", handler)
            except belaypin.StoreUnavailable:
                clock.advance("1m")
        assert proxy.cuts == 1
        assert store.undelivered() == []
    assert {*got} == {*KEYS[:2]}
    assert max(got.values()) <= 2
