from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conformance.places import LocalAsyncPlace, LocalPlace


@pytest.fixture
def database() -> str:
    """Which of the databases in ``OFFERS``; tests parametrise it."""
    return "file"


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if database == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return "sqlite:///:memory:" if database == "memory" else f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
def place(url: str) -> Iterator[LocalPlace]:
    place = LocalPlace(url)
    yield place
    place.close()


@pytest.fixture
async def async_place(url: str) -> AsyncIterator[LocalAsyncPlace]:
    place = LocalAsyncPlace(url)
    yield place
    await place.aclose()
