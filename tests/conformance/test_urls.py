"""Opening: what can't be opened says why, with the driver's own words where there are some."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import belaypin


def _each_open(url: Any) -> list[BaseException]:
    """What opening raises, in both colours."""

    async def aopen() -> None:
        await (await belaypin.aopen(url)).aclose()

    errors: list[BaseException] = []
    for attempt in (partial(belaypin.open, url), lambda: asyncio.run(aopen())):
        try:
            attempt()
        except belaypin.BelaypinError as error:
            errors.append(error)
    return errors


def _refused(url: Any, kind: type[belaypin.BelaypinError], word: str) -> None:
    errors = _each_open(url)
    assert [type(error) for error in errors] == [kind, kind], errors
    assert all(word in str(error) for error in errors), errors


@pytest.mark.parametrize(
    "url",
    [
        "",
        "app.db",
        "/var/lib/app.db",
        "sqlite:app.db",
        "sqlite://app.db",
        "sqlite:///",
        "sqlite:///app.db?mode=ro",
        "mysql:///app",
        "https://example.org/app",
        "sqlite:///a\0b",
        None,
        7,
        b"sqlite:///app.db",
        Path("app.db"),
    ],
)
def test_what_is_no_store_url(url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(url, belaypin.UsageError, "sqlite:///")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    _refused(f"sqlite:///{tmp_path}/no/app.db", belaypin.StoreUnavailable, "path")
    _refused(f"sqlite:///{tmp_path}", belaypin.StoreUnavailable, "path")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("this is not a database, " * 100)
    _refused(f"sqlite:///{file}", belaypin.StoreUnavailable, "not an SQLite database")
    assert file.read_text() == "this is not a database, " * 100


def test_a_damaged_database(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with belaypin.open(f"sqlite:///{file}") as store:
        store.save("p", "x" * 100_000)
    raw = bytearray(file.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    file.write_bytes(bytes(raw))
    with pytest.raises(belaypin.CorruptRecord):
        belaypin.open(f"sqlite:///{file}").load("p")


def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    """The user's own tables are in the same file and stay as they are."""
    file = tmp_path / "app.db"
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE posts (id TEXT); INSERT INTO posts VALUES ('x')")
    connection.close()
    with belaypin.open(f"sqlite:///{file}") as store:
        assert store.execute("SELECT id FROM posts").rows == [("x",)]


def test_a_server_or_database_that_is_not_there(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    unknown = parts._replace(path="/no_such_database").geturl()
    _refused(unknown, belaypin.StoreUnavailable, "no_such_database")
    _refused("postgresql:///x?host=/no/such/folder", belaypin.StoreUnavailable, "server")
    _refused("postgresql://127.0.0.1:1/x", belaypin.StoreUnavailable, "server")
    _refused(postgres_url + "&nonsense=1", belaypin.UsageError, "nonsense")


def test_a_role_that_may_not_make_tables(postgres_url: str) -> None:
    with belaypin.open(postgres_url) as store:
        store.execute("DROP SCHEMA public CASCADE")
    errors = _each_open(postgres_url)
    assert all(isinstance(error, belaypin.BelaypinError) for error in errors)
    assert len(errors) == 2


WITHOUT_PSYCOPG = """
import sys
from importlib.abc import MetaPathFinder
for name in ("psycopg", "psycopg_pool"):
    sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name.startswith("psycopg") else find(name, package))
import belaypin
try:
    belaypin.open("postgresql:///app")
except belaypin.MissingDriver as error:
    print(error)
belaypin.open("sqlite:///:memory:").close()
"""


def test_a_driver_that_is_not_installed() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PSYCOPG], capture_output=True, text=True, check=True
    )
    assert "pip install 'belaypin[postgres]'" in run.stdout
