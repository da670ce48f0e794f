"""The dashboard's servers and stores, and one browser for all."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

import belaypin.web
from belaypin.web.server import Server
from tests.web.browser import Browser, browsing
from tests.web.prepared import prepare

TOKEN = "a token by no chance at all"
DATABASES = ("sqlite", "postgres")


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of a real server with the app, on a port of its own."""
    server = Server(app, "127.0.0.1", 0) if hasattr(app.state, "dashboard") else _plain(app)
    thread = threading.Thread(target=server.run, name="dashboard")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def _plain(app: Any) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))


def scratch() -> Any:
    """A folder in memory where there is one: commits of a story need no disk."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)


@pytest.fixture(scope="session")
def sqlite_story() -> Iterator[str]:
    """The URL of an SQLite store with a story; tests only read it."""
    with scratch() as folder:
        url = f"sqlite:///{folder}/story.db"
        prepare(url)
        yield url


@pytest.fixture(scope="session")
def postgres_story(postgres_lasting: str) -> str:
    """The URL of a PostgreSQL store with a story; tests only read it."""
    prepare(postgres_lasting)
    return postgres_lasting


@pytest.fixture(params=DATABASES)
def story(request: pytest.FixtureRequest) -> str:
    """The URL of a store with a story, on each database; tests only read it."""
    url: str = request.getfixturevalue(f"{request.param}_story")
    return url


@pytest.fixture(scope="session")
def dashboard(sqlite_story: str) -> Iterator[str]:
    """The address of a dashboard that only reads, over the story in SQLite."""
    with serving(belaypin.web.app(sqlite_story, refresh_s=60)) as address:
        yield address


@pytest.fixture(scope="session")
def postgres_dashboard(postgres_story: str) -> Iterator[str]:
    """The address of a dashboard that only reads, over the story in PostgreSQL."""
    with serving(belaypin.web.app(postgres_story, refresh_s=60)) as address:
        yield address


@pytest.fixture(params=DATABASES)
def told(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of a dashboard that only reads, over the story in each database."""
    name = "dashboard" if request.param == "sqlite" else "postgres_dashboard"
    with httpx.Client(base_url=request.getfixturevalue(name), timeout=30) as found:
        yield found


@pytest.fixture(scope="session")
def empty_dashboard(empty: str) -> Iterator[str]:
    """The address of a dashboard over a store with nothing in it."""
    with serving(belaypin.web.app(empty, refresh_s=60)) as address:
        yield address


@pytest.fixture(scope="session")
def empty() -> Iterator[str]:
    """The URL of a store with nothing in it, where it stays so."""
    with scratch() as folder:
        url = f"sqlite:///{folder}/empty.db"
        belaypin.open(url).close()
        yield url


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The browser, with nothing in it; no page outlives its server."""
    window.look()
    yield window
    window.open("about:blank")
    window.complaints()


@pytest.fixture(scope="session")
def window(chromium: str) -> Iterator[Browser]:
    """One browser for all tests."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browsing(chromium, Path(profile)) as found,
    ):
        yield found


@contextmanager
def client(app: Any, **options: Any) -> Iterator[httpx.Client]:
    """A client of a real server with the app."""
    with serving(app) as address, httpx.Client(base_url=address, timeout=30, **options) as found:
        yield found
