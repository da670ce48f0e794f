"""Live events and their backfill, under dropped sockets, failing answers and kills.

Against examples/chat_site.py, by examples/live_and_backfill.py, each a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import belaypin
from belaypin.pipeline import Stop
from tests.pipelines.conftest import Place

ROOT = Path(__file__).parents[2]
IDS = "SELECT id FROM messages"


class Chat:
    """The chat site, a process of its own."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "examples/chat_site.py", *options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.urls: dict[str, str] = json.loads(self._process.stdout.readline())

    @property
    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.urls['http']}/state", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def end(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


class Listeners:
    """Those who run the example, one after the other."""

    def __init__(self, place: Place, chat: Chat) -> None:
        self._environment = {
            **os.environ,
            "CHAT_HTTP": chat.urls["http"],
            "CHAT_LIVE": chat.urls["live"],
        }
        self._place = place
        self.kills = 0
        self._process = self._begun()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()
        self.kills += 1
        self._process = self._begun()

    def stop(self) -> tuple[int, str]:
        """SIGTERM, once it listens: the exit code, and what was printed."""
        self.wait_until_one_listens()
        self._process.send_signal(signal.SIGTERM)
        printed, errors = self._process.communicate(timeout=60)
        assert not errors, errors
        return self._process.returncode, printed

    def wait_until_one_listens(self) -> None:
        until = time.monotonic() + 60
        while not self._listens():
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < until
            time.sleep(0.1)

    def _listens(self) -> bool:
        leases = "SELECT owner FROM belaypin_lease WHERE role = 'live' AND expires_us > 0"
        owners = [row[0] for row in looked(self._place, leases)]
        return any(f"/pid-{self._process.pid}/" in owner for owner in owners)

    def _begun(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "examples/live_and_backfill.py", self._place.url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )


@pytest.fixture
def chat(request: pytest.FixtureRequest) -> Iterator[Chat]:
    chat = Chat(*request.param)
    yield chat
    chat.end()


def survive(place: Place, chat: Chat, chance: random.Random, kills: int) -> tuple[int, int]:
    """Kill listeners until the site has posted all; prove the result; return drops and kills."""
    listeners = Listeners(place, chat)
    while listeners.kills < kills or not chat.state["is_over"]:
        listeners.wait_until_one_listens()  # on a busy machine, that takes long
        time.sleep(chance.uniform(0.1, 3))
        listeners.kill()
    posted, until = chat.state["posted"], time.monotonic() + 120
    while len(found(place)) < posted and time.monotonic() < until:
        time.sleep(0.2)
    code, printed = listeners.stop()
    assert code in (0, 3), printed
    ids = found(place)
    lost, doubled = {*range(posted)} - {*ids}, len(ids) - len({*ids})
    assert (lost, doubled) == (set(), 0), printed
    with place.open() as store:  # no message is to blame for the death of who had it in hand
        assert store.failures(status="quarantined") == []
    return chat.state["dropped"], listeners.kills


def found(place: Place) -> list[int]:
    return [row[0] for row in looked(place, IDS)]


def looked(place: Place, query: str) -> list[tuple[Any, ...]]:
    try:
        return place.look(query)
    except Exception:  # noqa: BLE001 -- no table yet, or the file is locked
        return []


QUICK = ("--messages", "150", "--rate", "80", "--drops", "0.2", "--until-drops", "13")


@pytest.mark.parametrize("chat", [QUICK], indirect=True, ids=["quick"])
def test_drops_and_kills_lose_and_double_nothing(place: Place, chat: Chat) -> None:
    drops, kills = survive(place, chat, random.Random(1), kills=2)
    assert drops + kills >= 15


LONG = ("--messages", "8000", "--rate", "60", "--drops", "0.1", "--until-drops", "160")


@pytest.mark.long
@pytest.mark.parametrize("chat", [LONG], indirect=True, ids=["long"])
def test_200_drops_and_kills_lose_and_double_nothing(
    place: Place, chat: Chat, record_property: Any
) -> None:
    drops, kills = survive(place, chat, random.Random(), kills=40)
    name = place.url.partition(":")[0]
    messages = len(found(place))
    record_property(
        "note", f"{name}: {drops} drops, {kills} kills, {messages} messages, 0 lost or doubled"
    )
    assert drops + kills >= 200


# --- the runner's part -------------------------------------------------------------------------


def now() -> str:
    return datetime.now(UTC).isoformat()


def talk(place: Place) -> tuple[belaypin.Pipeline, list[dict[str, Any]]]:
    """A pipeline whose history is the list, and whose handler fails for the message "bad"."""
    pipeline = belaypin.Pipeline("talk", store=place.url, retry=belaypin.Retry(backoff="50ms"))
    history: list[dict[str, Any]] = []
    attempts: list[str] = []

    @pipeline.setup
    def tables(store: belaypin.Store) -> None:
        store.execute("CREATE TABLE IF NOT EXISTS messages (id TEXT)")

    @pipeline.source("messages", since="1h", at="at")
    def fetch(room: str, window: belaypin.Window, cursor: Any) -> Any:
        times = [(datetime.fromisoformat(each["at"]), each) for each in history]
        return [each for at, each in times if window.start <= at < window.end], None

    @pipeline.item("messages")
    def insert(tx: belaypin.Work, message: dict[str, Any]) -> None:
        attempts.append(message["id"])
        if message["id"] == "bad" and attempts.count("bad") < 4:
            raise ValueError("bad")
        tx.execute(place.sql("INSERT INTO messages VALUES (?)"), (message["id"],))

    return pipeline, history


def has(place: Place, *ids: str) -> bool:
    return sorted(map(str, found(place))) == sorted(ids)


def stop_when(stop: Stop, is_so: Any) -> threading.Thread:
    def watch() -> None:
        until = time.monotonic() + 60
        while not is_so() and time.monotonic() < until:
            time.sleep(0.05)
        stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_what_a_broken_connection_missed_is_fetched(place: Place, is_async: bool) -> None:
    pipeline, history = talk(place)
    stop = Stop()
    connections = 0
    lists = 0

    @pipeline.entities
    def rooms() -> list[str]:
        nonlocal lists
        lists += 1
        if lists > 1:
            raise ConnectionError("no list this time")
        return ["a"]

    def said(connection: int) -> Iterator[list[dict[str, Any]]]:
        yield []
        yield [{"id": f"live-{connection}", "at": now()}]
        if connection == 1:
            history.append({"id": "missed", "at": now()})
            raise ConnectionError("dropped")

    @pipeline.live("messages")
    def arriving(room: str) -> Any:
        nonlocal connections
        connections += 1
        return overheard(connections) if is_async else said(connections)

    async def overheard(connection: int) -> AsyncIterator[list[dict[str, Any]]]:
        for events in said(connection):
            yield events

    waiting = stop_when(stop, lambda: {"missed", "live-2"} <= {*map(str, found(place))})
    report = pipeline.run(engine="serial", live=True, every="100ms", stop=stop)
    waiting.join()
    assert report.exit_code in (0, 3), report
    ids = [str(each) for each in found(place)]
    assert len(ids) == len({*ids})
    assert {"missed", "live-1", "live-2"} <= {*ids}


def test_an_event_that_fails_comes_back_with_the_backfill(place: Place) -> None:
    pipeline, _ = talk(place)
    stop = Stop()

    @pipeline.live("messages")
    def arriving(room: str) -> Iterator[list[dict[str, Any]]]:
        yield [{"id": "good", "at": now()}, {"id": "bad", "at": now()}]
        while not stop.wait(0.05):
            yield []

    waiting = stop_when(stop, lambda: has(place, "bad", "good"))
    report = pipeline.run(engine="serial", entities=["a"], live=True, every="200ms", stop=stop)
    waiting.join()
    assert has(place, "bad", "good"), report


def test_a_live_run_ends_at_its_deadline(sqlite_place: Place) -> None:
    pipeline, _ = talk(sqlite_place)

    @pipeline.live("messages")
    async def arriving(room: str) -> AsyncIterator[list[dict[str, Any]]]:
        yield []
        await asyncio.Event().wait()

    begun_s = time.monotonic()
    report = pipeline.run(engine="serial", entities=["a", "b"], live=True, deadline_s=2)
    assert time.monotonic() - begun_s < 20
    assert (report.reason, report.exit_code) == ("complete", 0)
    assert sqlite_place.look("SELECT count(*) FROM belaypin_lease WHERE expires_us > 0") == [(0,)]


def test_listening_needs_a_source_for_what_is_missed(sqlite_place: Place) -> None:
    pipeline, _ = talk(sqlite_place)
    with pytest.raises(belaypin.UsageError, match="listens to nothing"):
        pipeline.run(entities=["a"], live=True)
    pipeline.live("others")(lambda room: [])
    with pytest.raises(belaypin.UsageError, match="could fetch what was missed"):
        pipeline.run(entities=["a"])


def test_a_live_run_of_too_many_entities_is_refused(sqlite_place: Place) -> None:
    pipeline, _ = talk(sqlite_place)
    pipeline.live("messages")(lambda room: [])
    with pytest.raises(belaypin.UsageError, match="at most 1000"):
        pipeline.run(engine="serial", entities=range(2_000), live=True)


LISTENER = """
import asyncio, datetime, belaypin
talk = belaypin.Pipeline("talk", store="sqlite:///talk.db")
talk.setup(lambda store: store.execute("CREATE TABLE messages (id TEXT)"))
talk.entities(lambda: ["a"])
talk.source("messages", since="1h", at="at")(lambda room, window, cursor: ([], None))
talk.items("messages")(lambda tx, found: tx.copy("messages", ["id"], [[m["id"]] for m in found]))

@talk.live("messages")
async def arriving(room):
    yield [{"id": "heard", "at": datetime.datetime.now(datetime.UTC).isoformat()}]
    await asyncio.Event().wait()
"""


def test_the_command_line_listens(tmp_path: Path) -> None:
    (tmp_path / "listener.py").write_text(LISTENER)
    command = ["belaypin.cli", "run", "listener:talk", "--live", "--every", "1s"]
    run = subprocess.run(
        [sys.executable, "-m", *command, "--deadline", "3s", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["streams"]["messages"]["new"] == 1
    assert Place(f"sqlite:///{tmp_path / 'talk.db'}").look(IDS) == [("heard",)]
