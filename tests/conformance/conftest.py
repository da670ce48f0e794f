from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conformance.places import LocalAsyncPlace, LocalPlace
from tests.services import fixtures, fresh_database

EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


@pytest.fixture(scope="session")
def shared_postgres_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """One database for hundreds of checks: emptying it takes less than half of making one."""
    with fresh_database(pytestconfig.stash[fixtures._services].postgres.url) as url:
        yield url


@pytest.fixture
def empty_postgres_url(shared_postgres_url: str) -> str:
    """The URL of an empty PostgreSQL database."""
    with psycopg.connect(shared_postgres_url, autocommit=True) as connection:
        connection.execute(EMPTY)
    return shared_postgres_url


@pytest.fixture
def database() -> str:
    """Which of the databases in ``OFFERS``; tests parametrise it."""
    return "file"


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if database == "postgres":
        url: str = request.getfixturevalue("empty_postgres_url")
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
