"""One prepared store on each database, for all tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shop import fill
from tests.services import fixtures, fresh_database


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/app.db"
    fill(url)
    return url


@pytest.fixture(scope="session")
def postgres_store(pytestconfig: pytest.Config) -> Iterator[str]:
    with fresh_database(pytestconfig.stash[fixtures._services].postgres.url) as url:
        fill(url)
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of the prepared store."""
    url: str = request.getfixturevalue(f"{request.param}_store")
    return url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to call commands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
