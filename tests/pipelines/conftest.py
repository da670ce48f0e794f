"""A store on each database, and what is in it as independent eyes see it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

import belaypin

Look = Callable[[str], list[tuple[Any, ...]]]


class Place:
    """A database: its URL, and what is in it."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def is_postgres(self) -> bool:
        return self.url.startswith("postgresql")

    def sql(self, text: str) -> str:
        return text.replace("?", "%s") if self.is_postgres else text

    def look(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query, by the driver alone."""
        if self.is_postgres:
            with psycopg.connect(self.url) as connection:
                return connection.execute(query.encode()).fetchall()
        with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as connection:
            return connection.execute(query).fetchall()

    def open(self) -> belaypin.Store:
        return belaypin.open(self.url)


@pytest.fixture
def sqlite_place(sqlite_url: str) -> Place:
    return Place(sqlite_url)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_place")
    else:
        yield Place(request.getfixturevalue("postgres_url"))
