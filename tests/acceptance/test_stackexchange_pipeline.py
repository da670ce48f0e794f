"""The second example as a pipeline: every engine leaves the same rows, ledgers and coverage."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.stackexchange import REAL, SAMPLE, STREAMS, Left, left, mine

FILES = {"posts": "Posts", "comments": "Comments", "votes": "Votes", "badges": "Badges"}


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory, if the machine has one: what fsync is for is tested elsewhere."""
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def expected(memory: Path) -> Left:
    url = f"sqlite:///{memory / 'serial.db'}"
    mine(url, "serial")
    return left(url)


def test_what_is_left_is_what_the_files_have(expected: Left) -> None:
    for stream in STREAMS:
        ids = re.findall(rb'<row Id="(\d+)"', (SAMPLE / f"{FILES[stream]}.xml").read_bytes())
        assert Counter(row[0] for row in expected.rows[stream]) == Counter(map(int, ids))
    for (owner, stream), ids in expected.ledgers.items():
        assert ids == sorted(row[0] for row in expected.rows[stream] if row[1] == owner)


@pytest.mark.parametrize("engine", ["threads:2", "processes:2"])
def test_each_engine_leaves_the_same(memory: Path, expected: Left, engine: str) -> None:
    url = f"sqlite:///{memory / engine.replace(':', '-')}.db"
    reports = mine(url, engine)
    assert [report.exit_code for report in reports] == [0, 0], reports
    assert left(url) == expected


def test_postgresql_has_the_same(postgres_url: str, expected: Left) -> None:
    mine(postgres_url, "threads:2")
    assert left(postgres_url) == expected


@pytest.mark.long
@pytest.mark.parametrize("engine", ["serial", "threads:4", "processes:2", "processes:4"])
def test_each_engine_leaves_the_same_of_the_real_dump(
    memory: Path, engine: str, record_property: Callable[[str, Any], None]
) -> None:
    dump = REAL if REAL.is_dir() else SAMPLE
    url = f"sqlite:///{memory / f'long-{engine}'.replace(':', '-')}.db"
    _, report = mine(url, engine, dump=dump)
    found = left(url)
    first = memory / "first"
    if not first.exists():
        first.write_text(repr(found))
    assert repr(found) == first.read_text()
    rows = sum(map(len, found.rows.values()))
    record_property("note", f"stackexchange on {engine}: {rows} rows, {report.items_per_s:.0f}/s")
