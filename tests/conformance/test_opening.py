"""Opening with care: only what is there, only to be read, and what a store still needs."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

import belaypin
from belaypin import UsageError
from belaypin._sync.store import Store
from belaypin.backends.sqlite import SqliteBackend
from tests.conformance.outside import PostgresOutside, SqliteOutside, connect_sqlite
from tests.conformance.places import LocalPlace

DATABASES = pytest.mark.parametrize("database", ["file", "postgres"])
ENTITY = ("shop", "a")


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that belaypin has never seen."""
    if database == "postgres":
        bare: str = request.getfixturevalue("postgres_bare_url")
        return bare
    return f"sqlite:///{tmp_path}/store.db"


WRITES: list[Callable[[Any], Any]] = [
    lambda store: store.save(ENTITY, {"a": 1}),
    lambda store: store.lease(*ENTITY).acquire(),
    lambda store: store.execute("CREATE TABLE x (y INTEGER)"),
    lambda store: store.send("topic", 1, key="1"),
    lambda store: store.once("charge:1").__enter__(),
    lambda store: store.reset(ENTITY),
    lambda store: store.gc(),
    lambda store: store.break_lease(ENTITY),
]


def _fill(url: str) -> None:
    with belaypin.open(url) as store, store.lease(*ENTITY) as lease:
        store.save(ENTITY, {"pages": 3})
        with lease.changed("profile", {"name": "Ada"}):
            pass


def _refused(url: str, *words: str, **options: Any) -> None:
    async def aopen() -> None:
        await (await belaypin.aopen(url, **options)).aclose()

    for attempt in (lambda: belaypin.open(url, **options), lambda: asyncio.run(aopen())):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_a_file_that_is_not_there_stays_so(options: dict[str, bool], tmp_path: Path) -> None:
    _refused(f"sqlite:///{tmp_path}/store.db", "belaypin init", "store.db", **options)
    assert list(tmp_path.iterdir()) == []


@DATABASES
@pytest.mark.parametrize("options", [{"create": False}, {"read_only": True}], ids=str)
def test_a_database_without_a_store_stays_so(options: dict[str, bool], url: str) -> None:
    if not url.startswith("postgres"):
        connection = connect_sqlite(Path(url.removeprefix("sqlite:///")))
        connection.execute("CREATE TABLE mine (a INTEGER)")
        connection.close()
    _refused(url, "belaypin init", **options)
    outside = _outside(url)
    assert [name for name in outside.dump() if name.startswith("belaypin")] == []
    outside.close()


@DATABASES
def test_a_store_that_is_there_is_opened_without_create(url: str) -> None:
    _fill(url)
    with belaypin.open(url, create=False) as store:
        assert store.save(ENTITY, {"pages": 4}) == 2


@DATABASES
def test_a_read_only_store_reads_all_and_writes_nothing(url: str, place: LocalPlace) -> None:
    _fill(url)
    before = place.dump()
    with belaypin.open(url, read_only=True) as store:
        checkpoint = store.load(ENTITY)
        assert checkpoint is not None
        assert checkpoint.state == {"pages": 3}
        assert store.status("shop").status == "open"
        assert [row.key.entity for row in store.entities()] == ["a"]
        assert not store.verify().findings
        assert store.health().keys
        assert store.plan().steps == ()
        for write in WRITES:
            with pytest.raises(UsageError, match="read_only"):
                write(store)
    assert place.dump() == before


@DATABASES
async def test_an_async_read_only_store_writes_nothing(url: str, place: LocalPlace) -> None:
    _fill(url)
    before = place.dump()
    async with await belaypin.aopen(url, read_only=True) as store:
        assert len(await store.streams()) == 1
        with pytest.raises(UsageError, match="read_only"):
            await store.save(ENTITY, {})
        with pytest.raises(UsageError, match="read_only"):
            await store.lease(*ENTITY).acquire()
    assert place.dump() == before


@DATABASES
def test_a_store_that_is_behind_is_not_moved_on_by_a_reader(url: str, place: LocalPlace) -> None:
    _old_store(url)
    before = place.dump()
    _refused(url, "belaypin migrate", "audit", read_only=True)
    assert place.dump() == before
    with belaypin.open(url, create=False):
        pass
    with belaypin.open(url, read_only=True) as store:
        assert store.pipelines() == []


SCRIPT = """
import os, sys, belaypin

def look(url):
    with belaypin.open(url, read_only=True) as store:
        return store.load(("shop", "a")).state, len(store.entities())

look(sys.argv[1])  # now all is imported
if os.geteuid() == 0:  # root may write anywhere
    os.setgid(65534), os.setuid(65534)
print(*look(sys.argv[1]))
try:
    belaypin.open(sys.argv[1]).save(("shop", "a"), {})
except belaypin.BelaypinError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those above ``tmp_path``."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_in_a_folder_that_may_only_be_read(open_folder: Path) -> None:
    folder = open_folder / "a 100% odd # name?"
    folder.mkdir()
    url = f"sqlite:///{str(folder).replace('%', '%25').replace('?', '%3F')}/store.db"
    _fill(url)
    for path in folder.iterdir():
        path.chmod(0o444)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    folder.chmod(0o555)
    try:
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, url], capture_output=True, text=True, check=True
        )
    finally:
        folder.chmod(0o755)
    assert run.stdout.splitlines() == ["{'pages': 3} 1", "StoreFull"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("database", ["postgres"])
def test_a_role_that_may_only_select(url: str) -> None:
    _fill(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS belaypin_reader")
        connection.execute("CREATE ROLE belaypin_reader LOGIN PASSWORD 'reader'")
        connection.execute("GRANT USAGE ON SCHEMA public TO belaypin_reader")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO belaypin_reader")
        try:
            parts = urlsplit(url)
            option = ("&" if parts.query else "?") + "options=-c%20role%3Dbelaypin_reader"
            with belaypin.open(url + option, read_only=True) as store:
                assert store.health().keys == 2
                assert len(store.streams(order="lag")) == 0
                assert not store.verify().findings
            with belaypin.open(url + option) as store, pytest.raises(belaypin.StoreUnavailable):
                store.save(ENTITY, {})
        finally:
            connection.execute("DROP OWNED BY belaypin_reader")
            connection.execute("DROP ROLE belaypin_reader")


@DATABASES
def test_pending_migrations_are_told_and_change_nothing(url: str, place: LocalPlace) -> None:
    fresh = belaypin.migrations(url)
    assert fresh[0].name == "initial"
    _old_store(url)
    before = place.dump()
    missing = belaypin.migrations(url)
    assert [step.version for step in missing] == [step.version for step in fresh][2:]
    assert place.dump() == before
    with belaypin.open(url):
        pass
    assert belaypin.migrations(url) == []


def test_migrations_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert belaypin.migrations(f"sqlite:///{tmp_path}/store.db")[0].version == 1
    assert list(tmp_path.iterdir()) == []


@DATABASES
def test_a_store_made_by_hand_is_as_any_other(url: str) -> None:
    steps = belaypin.migrations(url)
    if url.startswith("postgres"):
        with psycopg.connect(url, autocommit=True) as connection:
            for step in steps:
                connection.execute(step.sql.encode())
    else:
        with sqlite3.connect(url.removeprefix("sqlite:///")) as file:
            for step in steps:
                file.executescript(step.sql)
        file.close()
    assert belaypin.migrations(url) == []
    with belaypin.open(url, create=False) as store:
        store.save(ENTITY, {"pages": 3})
        assert not store.verify().findings


def _old_store(url: str) -> None:
    """A store as the second migration left it."""
    if url.startswith("postgres"):
        from belaypin.backends._sync.postgres import PostgresBackend

        backend = PostgresBackend(url)
        backend.open()
        store = Store(backend)
    else:
        store = Store(SqliteBackend(url.removeprefix("sqlite:///")))
    store._migrate(2)
    store.close()


def _outside(url: str) -> Any:
    if url.startswith("postgres"):
        return PostgresOutside(url)
    return SqliteOutside(connect_sqlite(Path(url.removeprefix("sqlite:///"))))
