"""Stores of every kind, for the capabilities' tests; small ledgers, so that segments merge."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import belaypin
from belaypin.programs import ledger
from tests.upkeep.calls import Call, call_async, call_sync


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """A store that more than one connection can open."""
    return _url(request, request.param)


@pytest.fixture(params=["memory", "file", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[belaypin.Store]:
    with belaypin.open(_url(request, request.param)) as opened:
        yield opened


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """``call(url, "verify", ...)``: one method of the store at ``url``, in either colour."""
    return call_sync if request.param == "sync" else call_async


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
def clocked(request: pytest.FixtureRequest, clock: FakeClock) -> Iterator[belaypin.Store]:
    """A store that goes by ``clock``."""
    with belaypin.open(_url(request, request.param), clock=clock) as opened:
        yield opened


def _url(request: pytest.FixtureRequest, place: str) -> str:
    if place == "memory":
        return "sqlite:///:memory:"
    url: str = request.getfixturevalue("sqlite_url" if place == "file" else "postgres_url")
    return url
