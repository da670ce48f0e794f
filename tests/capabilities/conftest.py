"""Each test here runs on every database and in both colours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.capabilities.sites import Colour, Database, Site

DATABASES: tuple[Database, ...] = ("file", "memory", "postgres")


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    colour: Colour = request.param
    return colour


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.param
    return database


@pytest.fixture
async def site(
    colour: Colour, database: Database, request: pytest.FixtureRequest
) -> AsyncIterator[Site]:
    """An empty store, which the test opens in one colour."""
    url = "sqlite:///:memory:"
    if database != "memory":
        url = request.getfixturevalue("postgres_url" if database == "postgres" else "sqlite_url")
    opened = Site(url, colour)
    yield opened
    await opened.close()
