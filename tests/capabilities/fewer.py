"""Fixtures for modules with many tests: each database and each colour, but not each with each.

The sync side is generated from the async one, so a pair more would hardly tell more. Import all
three where they shall take the place of those in conftest.py.
"""

from __future__ import annotations

import pytest

from tests.capabilities.sites import Colour, Database

__all__ = ["colour", "database", "pair"]

PAIRS: list[tuple[Colour, Database]] = [
    ("sync", "file"),
    ("async", "memory"),
    ("async", "postgres"),
]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: pytest.FixtureRequest) -> tuple[Colour, Database]:
    pair: tuple[Colour, Database] = request.param
    return pair


@pytest.fixture
def colour(pair: tuple[Colour, Database]) -> Colour:
    return pair[0]


@pytest.fixture
def database(pair: tuple[Colour, Database]) -> Database:
    return pair[1]
