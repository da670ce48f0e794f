"""The way of somebody who is new here: the README's program, then a pipeline on a table of their own.

Each step is what they type. ``tests/surface`` walks it, and ``python -m benchmarks new_user`` times it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from tests.pages import ROOT, blocks

__all__ = ["DOUBLED", "OLD", "READINGS", "STATIONS", "STEPS", "Step", "count", "prepare", "type_in"]

STATIONS, READINGS, OLD = 3, 120, 1
DOUBLED = "SELECT count(*) - count(DISTINCT station || ' ' || at) FROM readings"

_PIPELINE = '''\
"""Hourly readings of weather stations, from files as their API would answer, into our own table."""

import json
from datetime import datetime
from pathlib import Path

import belaypin

weather = belaypin.Pipeline("weather")


@weather.setup
def tables(store):
    store.execute("CREATE TABLE IF NOT EXISTS readings (station TEXT, at TEXT, celsius REAL)")


@weather.entities
def stations():
    return sorted(path.stem for path in Path("answers").glob("*.json"))


@weather.source("readings", since="beginning", at="at", key="at")
def fetch(station, window, cursor):
    found = [
        reading
        for reading in json.loads(Path(f"answers/{station}.json").read_text())
        if window.start <= datetime.fromisoformat(reading["at"]) < window.end
    ]
    at = cursor or 0
    return found[at : at + 20], at + 20 if at + 20 < len(found) else None


@weather.item("readings")
def store_reading(tx, reading, entity):
    row = (entity, reading["at"], reading["celsius"])
    tx.execute("INSERT INTO readings (station, at, celsius) VALUES (?, ?, ?)", row)
'''


class Step(NamedTuple):
    """What is typed, what for, and the exit code that it has."""

    what: str
    line: str
    code: int = 0


STEPS = (
    Step("the README's program", "python first.py"),
    Step("the README's program again", "python first.py"),
    Step("settings", """echo 'store = "sqlite:///weather.db"' > belaypin.toml"""),
    Step("own pipeline, first run", "belaypin run weather:weather"),
    Step("own pipeline, again: nothing new", "belaypin run weather:weather"),
    Step("status", "belaypin status weather"),
    Step("drill", "belaypin drill weather:weather --empty --kills 5 --seed 1"),
)


def prepare(folder: Path) -> None:
    """What they have: the README's block in a file, their table with an old row, their source."""
    readme = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    (folder / "first.py").write_text(readme.text, encoding="utf-8")
    (folder / "weather.py").write_text(_PIPELINE, encoding="utf-8")
    (folder / "answers").mkdir()
    for number in range(STATIONS):
        text = json.dumps(list(_readings(number)))
        (folder / "answers" / f"station-{number}.json").write_text(text, encoding="utf-8")
    with closing(sqlite3.connect(folder / "weather.db")) as own:
        own.execute("CREATE TABLE readings (station TEXT, at TEXT, celsius REAL)")
        own.execute("INSERT INTO readings VALUES ('station-0', '2019-01-01T00:00:00+00:00', 3.5)")
        own.commit()


def type_in(step: Step, folder: Path, programs: Path) -> str:
    """Type one step in a shell, with ``python`` and ``belaypin`` of that environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("BELAYPIN_")}
    run = subprocess.run(
        ["bash", "-c", step.line],
        cwd=folder,
        env={**env, "PATH": f"{programs}{os.pathsep}{env['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == step.code, f"{step.line}: exit {run.returncode}\n{run.stdout}"
    return run.stdout


def count(file: Path, query: str) -> int:
    """A figure out of an SQLite file, as it is seen without belaypin."""
    with closing(sqlite3.connect(file)) as eyes:
        found: int = eyes.execute(query).fetchone()[0]
    return found


def _readings(station: int) -> Iterator[dict[str, object]]:
    begin = datetime(2024, 5, 1, tzinfo=UTC)
    for hour in range(READINGS):
        yield {"at": (begin + timedelta(hours=hour)).isoformat(), "celsius": station + hour % 24}
