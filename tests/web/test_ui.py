"""``belaypin ui`` as a subprocess: what it prints, where it listens, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.conftest import TOKEN

PROGRAM = [sys.executable, "-m", "belaypin.cli", "ui"]
UNREACHABLE = "postgresql://nobody:geheim@127.0.0.1:9/none"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BELAYPIN_")}
    return {**kept, **more}


@contextmanager
def running(*words: str, **more: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address that it prints, and the process."""
    command = [*PROGRAM, "--jsonl", "--port", "0", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more)
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield json.loads(line)["url"], process
        finally:
            process.kill()


def refused(*words: str, **more: str) -> tuple[int, str]:
    run = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, env=environment(**more), timeout=60
    )
    return run.returncode, run.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_until_it_is_stopped(number: signal.Signals, code: int, empty: str) -> None:
    with running("--store", empty) as (url, process):
        assert url.startswith("http://127.0.0.1:")
        with httpx.stream(
            "GET", f"{url}events"
        ) as response:  # a page that listens holds nothing up
            assert response.status_code == 200
            assert "read only" in httpx.get(url).text
            process.send_signal(number)
            assert process.wait(30) == code
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_visitors_need_the_token_of_the_environment(empty: str) -> None:
    with running("--store", empty, "--actions", BELAYPIN_UI_TOKEN=TOKEN) as (url, _):
        assert httpx.get(url).status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert "actions on" in httpx.get(url, headers=headers).text
        assert "belaypin_up 1.0" in httpx.get(f"{url}metrics", headers=headers).text


def test_a_new_token_is_printed(empty: str) -> None:
    command = [*PROGRAM, "--port", "0", "--new-token", "--store", empty]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes, env=environment()) as process:
        try:
            assert process.stdout is not None
            token = process.stdout.readline().removeprefix("Token: ").strip()
            url = process.stdout.readline().removeprefix("The dashboard: ").strip()
            assert len(token) == 32
            answer = httpx.get(f"{url}api/pipelines", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 200
        finally:
            process.kill()


def test_a_store_that_cannot_be_reached_is_waited_for() -> None:
    with running("--store", UNREACHABLE) as (url, _):
        response = httpx.get(url, timeout=30)
        assert response.status_code == 503
        assert "geheim" not in response.text


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (["--host", "0.0.0.0"], "--new-token"),
        (["--host", "dash.example"], "--new-token"),
        (["--allow-host", "dash.example"], "token"),
        (["--token-file", "/nowhere/token"], "can't be read"),
        (["--pipeline", "app:pipeline"], "--actions"),
        (["--actions", "--pipeline", "nowhere:pipeline"], "there is no module"),
        (["--port", "70000"], "70000"),
    ],
)
def test_what_would_not_work_is_said(words: list[str], advice: str, empty: str) -> None:
    code, said = refused("--store", empty, *words)
    assert code == 2
    assert advice in said


def test_a_token_that_is_too_short_is_refused(empty: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("short")
    assert refused("--store", empty, "--token-file", str(file))[0] == 2


def test_a_store_that_is_none_is_said_at_once(tmp_path: Path) -> None:
    code, said = refused("--store", f"sqlite:///{tmp_path}/none.db")
    assert code == 2
    assert "none.db" in said


def test_a_port_that_is_taken_is_said(empty: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refused("--store", empty, "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "another --port" in said
