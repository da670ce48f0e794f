from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance.places import LocalAsyncPlace, LocalPlace


@pytest.fixture
def database() -> str:
    """Which of the databases in ``OFFERS``; tests parametrise it."""
    return "file"


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty store."""
    if database == "memory":
        return "sqlite:///:memory:"
    url: str = request.getfixturevalue("postgres_url" if database == "postgres" else "sqlite_url")
    return url


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
