"""Both databases, each made when a test asks for its URL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import Theatre


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that is not there yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def sqlite_theatre(sqlite_url: str) -> Iterator[Theatre]:
    theatre = Theatre(sqlite_url)
    yield theatre
    theatre.close()


@pytest.fixture
def postgres_theatre(postgres_url: str) -> Iterator[Theatre]:
    theatre = Theatre(postgres_url)
    yield theatre
    theatre.close()
