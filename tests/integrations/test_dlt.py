"""dlt loads a tracked stream into a database: each item once, whatever is killed in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

import belaypin
from belaypin.integrations.dlt import tracked

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # nothing is to be sent from tests
os.environ["PROVIDERS__ENABLE_AIRFLOW_SECRETS"] = "false"  # it is installed, but has no database

# dlt's own merge statements on SQLAlchemy 2.1.
pytestmark = pytest.mark.filterwarnings("ignore:implicitly coercing SELECT")

START = datetime(2024, 1, 1, tzinfo=UTC)
KEY = ("social", "user:7", "posts")

KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import dlt
import belaypin
from belaypin.integrations.dlt import tracked

START = datetime(2024, 1, 1, tzinfo=UTC)
folder, kill = sys.argv[1:]
POSTS = [{"id": n, "at": START + timedelta(minutes=n)} for n in range(10)]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def fetch(window, cursor):
    if kill == "extract" and cursor:
        die()
    return POSTS[cursor or 0 : (cursor or 0) + 5], 5 if not cursor else None

pipeline = dlt.pipeline(
    "tracked", destination=dlt.destinations.sqlalchemy(f"sqlite:///{folder}/rows.db"),
    dataset_name="main", pipelines_dir=f"{folder}/dlt",
)
with belaypin.open(f"sqlite:///{folder}/store.db") as store:
    key = ("social", "user:7", "posts")
    for posts in tracked(store, key, fetch, key="id", at="at", since=START):
        if kill in ("normalize", "load"):
            pipeline.extract(posts)
            if kill == "load":
                pipeline.normalize()
            die()
        pipeline.run(posts)
        if kill == "commit":
            die()
"""


class Source:
    """Posts, a minute apart, in pages."""

    def __init__(self, count: int, page: int = 5) -> None:
        self.posts = [self.post(n) for n in range(count)]
        self.page = page
        self.fetched = 0

    @staticmethod
    def post(n: int) -> dict[str, Any]:
        return {"id": n, "at": START + timedelta(minutes=n), "text": f"post {n}"}

    def fetch(self, window: belaypin.Window, cursor: Any) -> tuple[list[Any], Any]:
        self.fetched += 1
        found = [p for p in self.posts if window.start <= p["at"] < window.end]
        at = cursor or 0
        return found[at : at + self.page], at + self.page if at + self.page < len(found) else None


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as store:
        yield store


@pytest.fixture
def pipeline(tmp_path: Path) -> Any:
    return dlt.pipeline(
        "tracked",
        destination=dlt.destinations.sqlalchemy(f"sqlite:///{tmp_path}/rows.db"),
        dataset_name="main",
        pipelines_dir=str(tmp_path / "dlt"),
    )


def ids(folder: Path, table: str = "posts") -> list[int]:
    with closing(sqlite3.connect(folder / "rows.db")) as connection:
        return [row[0] for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")]


def run(store: belaypin.Store, source: Source, pipeline: Any, **options: Any) -> None:
    options = {"key": "id", "at": "at", "since": START, **options}
    for posts in tracked(store, KEY, source.fetch, **options):
        pipeline.run(posts)


def test_only_what_is_new_is_loaded(store: belaypin.Store, pipeline: Any, tmp_path: Path) -> None:
    source = Source(12)
    run(store, source, pipeline, hints={"write_disposition": "append"})
    assert ids(tmp_path) == list(range(12))
    source.posts += [Source.post(n) for n in (12, 13)]
    run(store, source, pipeline, hints={"write_disposition": "append"}, overlap="1h")
    assert ids(tmp_path) == list(range(14))
    assert store.seen(KEY, range(20)) == set(range(14))
    (covered,) = store.coverage(KEY)
    assert covered.start == START
    assert covered.end == START + timedelta(minutes=13)


def test_a_gap_is_loaded_before_the_head(
    store: belaypin.Store, pipeline: Any, tmp_path: Path
) -> None:
    source = Source(30)
    run(store, source, pipeline)
    store.reopen(KEY, START + timedelta(minutes=5), START + timedelta(minutes=10), force=True)
    late = [{"id": n, "at": START + timedelta(minutes=7), "text": "late"} for n in (100, 101)]
    source.posts += [*late, Source.post(30)]
    loads = []
    for posts in tracked(store, KEY, source.fetch, key="id", at="at", since=START):
        pipeline.run(posts)
        loads.append(ids(tmp_path)[30:])
    assert loads == [[100, 101], [30, 100, 101]]  # those of the gap, then the new one
    assert store.gaps(KEY, since=START, until=START + timedelta(minutes=29)) == []


def test_killed_anywhere_each_item_is_there_once(tmp_path: Path) -> None:
    def go(how: str) -> int:
        command = [sys.executable, "-c", KILLED, str(tmp_path), how]
        return subprocess.run(command, capture_output=True, check=False, env=os.environ).returncode

    with belaypin.open(f"sqlite:///{tmp_path}/store.db") as store:
        for kill in ("extract", "normalize", "load", "commit"):
            assert go(kill) == -signal.SIGKILL, kill
            assert store.seen(KEY, range(10)) == set(), kill  # not before it is known to be loaded
        assert go("") == 0
        assert ids(tmp_path) == list(range(10))
        assert store.seen(KEY, range(10)) == set(range(10))


def _nothing(pipeline: Any, posts: Any) -> None:
    pass


def _only_extract(pipeline: Any, posts: Any) -> None:
    pipeline.extract(posts)


@pytest.mark.parametrize(
    ("body", "problem"), [(_nothing, "not extracted"), (_only_extract, "not loaded")]
)
def test_what_is_not_loaded_is_not_committed(
    store: belaypin.Store, pipeline: Any, body: Callable[[Any, Any], None], problem: str
) -> None:
    resources = tracked(store, KEY, Source(3).fetch, key="id", at="at", since=START)

    def loop() -> None:
        for posts in resources:
            body(pipeline, posts)

    with pytest.raises(belaypin.NotCommitted, match=problem):
        loop()
    assert store.coverage(KEY) == []
    assert store.seen(KEY, [0, 1, 2]) == set()


def test_a_source_that_fails_is_asked_again(
    store: belaypin.Store, pipeline: Any, tmp_path: Path
) -> None:
    class Broken(Source):
        def fetch(self, window: belaypin.Window, cursor: Any) -> tuple[list[Any], Any]:
            if cursor:
                raise OSError("the source is away")
            return super().fetch(window, cursor)

    with pytest.raises(PipelineStepFailed, match="the source is away"):
        run(store, Broken(9), pipeline)
    assert store.coverage(KEY) == []
    run(store, Source(9), pipeline)
    assert ids(tmp_path) == list(range(9))


def test_ids_by_function_and_many_items(
    store: belaypin.Store, pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("belaypin.integrations.dlt._COMMITTED_AT_ONCE", 7)
    source = Source(40, page=9)
    source.posts += source.posts[:3]  # the source repeats itself
    hints = {"write_disposition": "append"}
    run(store, source, pipeline, key=lambda post: f"p{post['id']}", name="others", hints=hints)
    assert ids(tmp_path, "others") == list(range(40))
    assert len(store.seen(KEY, [f"p{n}" for n in range(40)])) == 40


def test_one_at_a_time(store: belaypin.Store, pipeline: Any) -> None:
    with store.lease(*KEY[:2]), pytest.raises(belaypin.LeaseHeld):
        run(store, Source(1), pipeline)
    with pytest.raises(belaypin.UsageError, match="three parts"):
        next(tracked(store, ("social", "user:7"), Source(1).fetch, key="id", since=START))
