"""Stores of every kind, for the capabilities' tests; small ledgers, so that segments merge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import belaypin
from belaypin.programs import ledger


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that more than one connection can open."""
    if request.param == "postgres":
        given: str = request.getfixturevalue("postgres_url")
        return given
    return f"sqlite:///{tmp_path}/app.db"


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[belaypin.Store]:
    if request.param == "memory":
        url = "sqlite:///:memory:"
    elif request.param == "file":
        url = f"sqlite:///{tmp_path}/app.db"
    else:
        url = request.getfixturevalue("postgres_url")
    with belaypin.open(url) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``call(url, "verify", ...)``: one method of the store at ``url``, in either colour."""

    def in_sync(url: str, method: str, *args: Any, **options: Any) -> Any:
        with belaypin.open(url) as store:
            return getattr(store, method)(*args, **options)

    def in_async(url: str, method: str, *args: Any, **options: Any) -> Any:
        async def run() -> Any:
            async with await belaypin.aopen(url) as store:
                return await getattr(store, method)(*args, **options)

        return asyncio.run(run())

    return in_sync if request.param == "sync" else in_async


@pytest.fixture
def small_fan_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments merge after every fourth commit."""
    monkeypatch.setattr(ledger, "FAN_OUT", 4)


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000

    def now_us(self) -> int:
        return self.us

    def pass_s(self, seconds: float) -> None:
        self.us += round(seconds * 1_000_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "file", "postgres"])
def clocked(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> Iterator[belaypin.Store]:
    """A store that goes by ``clock``."""
    if request.param == "memory":
        url = "sqlite:///:memory:"
    elif request.param == "file":
        url = f"sqlite:///{tmp_path}/app.db"
    else:
        url = request.getfixturevalue("postgres_url")
    with belaypin.open(url, clock=clock) as opened:
        yield opened
