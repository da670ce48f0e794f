"""Idempotency-Key: a real Starlette application in a real uvicorn, asked over HTTP, and killed."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import belaypin
from tests.integrations.payments import MAX_BYTES, TABLE
from tests.pages import ROOT

PATIENCE_S = 60.0
HOLD = {"hold": True}


class Server:
    """uvicorn in a process of its own. The socket is ours, so that requests wait while it is dead."""

    def __init__(self, url: str, folder: Path) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._arguments = [url, str(folder)]
        self._calls = folder / "calls"
        self.go_on = (folder / "go_on").touch
        self._process: subprocess.Popen[bytes] | None = None
        port = self._socket.getsockname()[1]
        # uvicorn closes a connection whose application raised: one for each request.
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=PATIENCE_S,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self.store = belaypin.open(url)
        self.store.execute(TABLE)
        self.start()

    def start(self) -> None:
        """Start it, again if need be."""
        self.kill()
        fd = self._socket.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integrations.payments", str(fd), *self._arguments],
            pass_fds=[fd],
            cwd=ROOT,
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        self.kill()
        self.client.close()
        self._socket.close()
        self.store.close()

    def post(self, key: str | None, how: dict[str, Any], **options: Any) -> httpx.Response:
        path, headers = options.pop("path", "/"), options.pop("headers", {})
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.client.post(path, json=how, headers=headers, **options)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return self.store.execute("SELECT key_of, amount FROM payments ORDER BY key_of").fetchall()

    def wait_for(self, call: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while call not in self.calls:
            assert time.monotonic() < deadline, f"never saw {call!r} in {self.calls}"
            time.sleep(0.02)


@pytest.fixture
def server(url: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(url, tmp_path)
    yield server
    server.close()


@pytest.fixture
def one(sqlite_url: str, tmp_path: Path) -> Iterator[Server]:
    """On one database only, for what has nothing to do with it."""
    server = Server(sqlite_url, tmp_path)
    yield server
    server.close()


def assert_problem(response: httpx.Response, status: int, title: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert title in response.json()["title"]


def test_a_request_is_done_once_and_answered_each_time(server: Server) -> None:
    first, second = (server.post('"k 1"', {"amount": 5}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second.headers["location"] == "/payments/1"
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert server.calls == ["http::k%201 attempt 1", "background"]
    assert server.rows == [("http::k%201", 5)]


def test_secrets_are_neither_kept_nor_told_again(one: Server) -> None:
    first, second = (one.post("k", {}) for _ in range(2))
    assert first.headers["set-cookie"] == "session=secret"
    assert first.headers["x-secret"] == "s3cret"
    assert not {"set-cookie", "x-secret"} & second.headers.keys()
    operation = one.store.operation("http::k")
    assert operation is not None
    assert "s3cret" not in json.dumps(operation.result)
    assert "secret" not in json.dumps(operation.result)


def test_another_payload_is_refused(one: Server) -> None:
    assert one.post("k", {"amount": 5}).status_code == 201
    assert_problem(one.post("k", {"amount": 6}), 422, "already used")
    assert_problem(one.post("k", {"amount": 5}, params={"a": 1}), 422, "already used")
    assert_problem(one.post("k", {"amount": 5}, path="/required"), 422, "already used")
    assert len(one.rows) == 1


def test_a_key_can_be_required_and_must_be_readable(one: Server) -> None:
    assert_problem(one.post(None, {}, path="/required"), 400, "needed")
    assert one.post(None, {}).json() == {"once": False}
    for key in ('"open', '""', "two words", "a,b", '"tab\\t"', "x" * 256, "¼".encode("latin-1")):
        assert_problem(one.post(key, {}), 400, "can't be read")  # type: ignore[arg-type]
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert_problem(one.client.post("/", json={}, headers=twice), 400, "can't be read")
    assert one.post('"a\\"b"', {}).status_code == 201
    assert one.post('"bare"', {}).headers.get("idempotency-replayed") is None
    assert one.post("bare", {}).headers["idempotency-replayed"] == "true"
    assert one.client.put("/", json={}, headers={"Idempotency-Key": "a"}).json() == {"once": False}
    assert len(one.rows) == 2


def test_keys_of_tenants_never_meet(one: Server) -> None:
    users = ["alice", "bob", "alice:k", ""]
    answers = [one.post("k", {}, headers={"X-User": user}) for user in users]
    answers.append(one.post("k:k", {}, headers={"X-User": "alice"}))
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None] * 5
    assert len({row[0] for row in one.rows}) == 5


def test_concurrent_requests_are_done_once(server: Server) -> None:
    server.post("warm", {})
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(server.post, "k", HOLD)
        server.wait_for("http::k attempt 1")
        others = list(pool.map(lambda _: server.post("k", HOLD), range(6)))
        for answer in others:
            assert_problem(answer, 409, "outstanding")
            assert answer.headers["retry-after"] == "1"
        server.go_on()
        assert first.result().status_code == 201
    assert server.post("k", HOLD).json() == first.result().json()
    assert server.rows == [("http::k", 1), ("http::warm", 1)]


def test_what_fails_is_undone_and_runs_again(one: Server) -> None:
    assert one.post("raised", {"raise": True}).status_code == 500
    assert one.rows == []
    assert one.post("raised", {"raise": True}).json()["attempt"] == 2
    for status in (500, 503, 429):
        failed = [one.post(f"s{status}", {"status": status}) for _ in range(2)]
        assert [answer.status_code for answer in failed] == [status] * 2
        assert [answer.json()["attempt"] for answer in failed] == [1, 2]
    final = [one.post("s404", {"status": 404}) for _ in range(2)]
    assert [answer.json()["attempt"] for answer in final] == [1, 1]
    assert [row[0] for row in one.rows] == ["http::raised", "http::s404"]
    operation = one.store.operation("http::s503")
    assert operation is not None
    assert operation.error is not None
    assert "503" in operation.error


def test_streams_are_held_back_until_they_are_whole(one: Server) -> None:
    first, second = (one.post("k", {"stream": 15}) for _ in range(2))
    assert first.content == second.content == b"\xff" * 15_000
    assert second.headers["content-type"] == "image/x-test"
    assert one.post("empty", {"stream": 0}).content == b""
    assert one.post("empty", {"stream": 0}).headers["idempotency-replayed"] == "true"
    assert one.post("too long", {"stream": 1 + MAX_BYTES // 1000}).status_code == 400
    assert one.post('"long"', {"stream": 1 + MAX_BYTES // 1000}).status_code == 500
    assert [row[0] for row in one.rows] == ["http::empty", "http::k"]


def test_too_long_a_body_is_refused(one: Server) -> None:
    body = b" " * MAX_BYTES + b"{}"
    headers = {"Idempotency-Key": "k"}
    assert_problem(one.client.post("/", content=body, headers=headers), 413, "too long")
    chunked = one.client.post("/", content=iter([body[:9000], body[9000:]]), headers=headers)
    assert_problem(chunked, 413, "too long")
    assert one.client.post("/", content=body[3:], headers=headers).status_code == 201
    assert one.client.post("/", content=body).json() == {"once": False}


def test_a_client_that_went_away_gets_its_answer_later(one: Server) -> None:
    one.post("warm", {})
    with pytest.raises(httpx.ReadTimeout):
        one.post("k", HOLD, timeout=1)
    one.wait_for("http::k attempt 1")
    one.go_on()
    deadline = time.monotonic() + PATIENCE_S
    while one.post("k", HOLD).status_code == 409:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert one.post("k", HOLD).json()["attempt"] == 1


def test_a_server_killed_in_the_middle_does_it_again_once(server: Server) -> None:
    with pytest.raises(httpx.HTTPError):
        server.post("dies", {"die": True})
    assert server.rows == []
    server.start()
    assert server.post("dies", {"die": True}).json()["attempt"] == 2
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(server.post, "k", HOLD)
        server.wait_for("http::k attempt 1")
        server.kill()
        assert isinstance(waiting.exception(), httpx.HTTPError)
    server.start()
    assert server.post("k", HOLD).json()["attempt"] == 2
    assert server.post("k", HOLD).headers["idempotency-replayed"] == "true"
    assert server.rows == [("http::dies", 1), ("http::k", 1)]


def test_killed_at_random_every_request_is_done_exactly_once(server: Server) -> None:
    chance = random.Random(7)
    done = threading.Event()

    def kill() -> None:
        for _ in range(3):
            server.post(None, {})  # it runs
            done.wait(chance.uniform(0, 0.5))
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    number = 0
    answers: dict[str, Any] = {}
    while killer.is_alive() or number < 20:
        key = f"k{number:06}"
        try:
            answer = server.post(key, {"amount": number})
        except httpx.HTTPError:
            continue
        assert answer.status_code in (201, 409), answer.text
        if answer.status_code == 201:
            answers[key] = answer.json()
            number += 1
    done.set()
    killer.join()
    assert server.rows == [(f"http::{key}", n) for n, key in enumerate(answers)]
    assert all(
        server.post(key, {"amount": n}).json() == answers[key] for n, key in enumerate(answers)
    )
