"""Each test here runs on every database and in both colours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

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
    colour: Colour, database: Database, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Site]:
    """An empty database, on which the test opens stores of one colour."""
    url = f"sqlite:///{tmp_path}/store.db"
    if database == "memory":
        url = "sqlite:///:memory:"
    elif database == "postgres":
        url = request.getfixturevalue("postgres_url")
    opened = Site(url, colour)
    yield opened
    await opened.close()
