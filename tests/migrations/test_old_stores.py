"""Stores of every older version are brought up to date when they are opened, and go on.

``golden/store-0001.jsonl`` is what belaypin 0.1 had written: a table and a row a line. It is put
into a store of each version of the tables that there ever was, as those only ever gained columns.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

import belaypin
from belaypin.catalog import Dialect, migrations
from belaypin.testing import FakeClock

GOLDEN = Path(__file__).parent / "golden" / "store-0001.jsonl"
DIGEST = "75bea0b81509b54f"
STEPS = migrations("sqlite")
WRITTEN_AT = datetime(2024, 6, 1, tzinfo=UTC)
POSTS = ("social", "user:7", "posts")
ORDERS = ("social", "user:7", "orders")
IDS = {f"post-{page}-{n}" for page in range(4) for n in range(3)}


def rows() -> Iterator[tuple[str, dict[str, Any]]]:
    for line in GOLDEN.read_text(encoding="ascii").splitlines():
        table, row = json.loads(line)
        yield table, {name: stored(value) for name, value in row.items()}


def stored(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def fill(url: str) -> None:
    """Write the golden rows by plain drivers."""
    is_postgres = url.startswith("postgresql")
    mark, override = ("%s", "OVERRIDING SYSTEM VALUE") if is_postgres else ("?", "")
    connection: Any = (
        psycopg.connect(url) if is_postgres else sqlite3.connect(url.removeprefix("sqlite:///"))
    )
    with closing(connection):
        for table, row in rows():
            names, marks = ", ".join(row), ", ".join([mark] * len(row))
            forced = override if table == "belaypin_checkpoint" else ""
            sql = f"INSERT INTO {table} ({names}) {forced} VALUES ({marks})"
            connection.execute(sql, tuple(row.values()))
        if is_postgres:
            connection.execute(
                "SELECT setval(pg_get_serial_sequence('belaypin_checkpoint', 'key_id'), 100)"
            )
        connection.commit()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        found: str = request.getfixturevalue("postgres_bare_url")
        return found
    return f"sqlite:///{tmp_path}/store.db"


def test_the_golden_store_is_as_it_was() -> None:
    assert sha256(GOLDEN.read_bytes()).hexdigest()[:16] == DIGEST


@pytest.mark.parametrize("version", [step.version for step in STEPS])
def test_a_store_of_each_version_is_taken_over(
    version: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up_to_then(dialect: Dialect) -> Any:
        return tuple(step for step in migrations(dialect) if step.version <= version)

    with monkeypatch.context() as patched:
        patched.setattr("belaypin._sync.store.migrations", up_to_then)
        belaypin.open(url).close()
    fill(url)
    with belaypin.open(url, clock=FakeClock(WRITTEN_AT)) as store:
        assert store.verify().ok
        assert store.seen(POSTS, [*IDS, "post-9-9"]) == IDS
        assert [str(i.duration) for i in store.coverage(POSTS)] == ["21 days, 0:00:02"]
        checkpoint = store.load((*POSTS[:2], "totals"))
        assert checkpoint is not None
        assert (checkpoint.state, checkpoint.version) == ({"posts": 12}, 1)
        with store.once("invoice:7", request={"n": 7}) as op:
            assert not op
            assert op.result == {"paid": True}
        with store.once("invoice:8") as op:
            assert (bool(op), op.attempt) == (True, 2)
        goes_on(store)
        assert store.verify().ok


def goes_on(store: belaypin.Store) -> None:
    """Mine on: what was begun at its cursor, nothing twice."""
    asked: list[Any] = []

    def fetch(cursor: Any) -> tuple[list[dict[str, int]], None]:
        asked.append(cursor)
        return [{"id": 3}, {"id": 4}], None

    with store.lease("social", "user:7") as lease:
        with lease.changed("profile", {"name": "Ada"}) as change:
            assert not change
        for window in lease.windows("orders", since="30d"):
            assert window.resumed
            for page in window.pages(fetch):
                with page.commit() as tx:
                    assert tx.fresh(page.items, key="id") == [{"id": 4}]
    assert asked == [2]
    assert store.seen(ORDERS, [1, 2, 3, 4, 5]) == {1, 2, 3, 4}
