"""Commands that run code of the user's: a pipeline, a schema. And the quick measurement."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import belaypin
from tests.cli.shop import PROGRAM, answer, call, fork
from tests.cli.test_commands import SCHEMAS

APP = """
import os, time
from datetime import UTC, datetime, timedelta
import belaypin

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
shop = belaypin.Pipeline("shop", retry=belaypin.Retry(backoff="1ms"))
SCHEMA = belaypin.Schema(1, {0: lambda state: {**state, "version": 1}})

print("imported")

@shop.entities
def sites():
    print("these sites")
    return [f"site:{n}" for n in range(int(os.environ.get("SITES", "3")))]

@shop.source("orders", since=EPOCH, until=EPOCH + timedelta(days=1))
def fetch(site, window, cursor):
    print(f"fetching {site}")  # nobody who reads JSON is to find it there
    open("begun", "w").close()
    time.sleep(float(os.environ.get("SLEEP", "0")))
    return [{"id": n} for n in range(5)], None

@shop.item("orders")
def insert(tx, order):
    if order["id"] == 3 and os.environ.get("BAD"):
        raise ValueError("3 is bad")
"""


@pytest.fixture
def app(folder: Path) -> Path:
    (folder / "app.py").write_text(APP)
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty store."""
    url: str = "sqlite:///app.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    belaypin.open(url).close()
    return url


def valid(name: str, found: Any) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(found)
    return found


def test_run_does_all_and_then_nothing(app: Path, empty: str) -> None:
    report = valid("run", answer("run", "app:shop", store=empty))
    assert (report["reason"], report["items"], report["remaining"]) == ("complete", 15, 0)
    again = answer("run", "app:shop", "--entity", "site:0", store=empty)
    assert (again["items"], again["entities_done"]) == (0, 1)
    (app / "belaypin.toml").write_text('pipeline = "app:shop"\n')
    assert "shop: complete" in fork("run", "--engine", "serial", store=empty).stdout
    assert answer("status", "shop", "--check", "gaps=0 failures=0", store=empty)["ok"]


@pytest.mark.parametrize("engine", ["serial", "processes:1"])
def test_what_the_pipeline_prints_is_not_in_the_json(app: Path, engine: str) -> None:
    belaypin.open("sqlite:///app.db").close()
    done = call("run", "app:shop", "--engine", engine, "--json", store="sqlite:///app.db")
    assert json.loads(done.stdout)["items"] == 15
    assert {"imported", "these sites", "fetching site:0"} <= {*done.stderr.splitlines()}
    told = call("run", "app:shop", "--engine", "serial", "--no-progress", store="sqlite:///app.db")
    assert "these sites" in told.stdout


def test_items_that_fail_are_an_exit_code(app: Path, empty: str) -> None:
    done = call("run", "app:shop", "--json", store=empty, env={"BAD": "1"})
    assert done.returncode == 1, done.stderr
    assert valid("run", json.loads(done.stdout))["streams"]["orders"]["failed"] == 3
    rows = answer("failures", "error~bad", store=empty)["rows"]
    assert [row["item_id"] for row in rows] == [3, 3, 3]
    assert answer("retry", "error~bad", "--yes", store=empty)["items"] == 3
    report = valid("recover", answer("recover", "--work", "app:shop", store=empty))
    assert report["ok"]
    assert answer("failures", store=empty)["rows"] == []


def test_sigterm_and_a_deadline_leave_work_and_say_so(app: Path) -> None:
    env = {**os.environ, "SITES": "100", "SLEEP": "0.2", "BELAYPIN_STORE": "sqlite:///app.db"}
    words = [*PROGRAM, "run", "app:shop", "--json", "--engine", "serial"]
    running = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not Path("begun").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    written, said = running.communicate(timeout=60)
    assert running.returncode == 3, said
    report = json.loads(written)
    assert report["reason"] == "stopped"
    assert report["remaining"] > 0
    slow = {"SITES": "100", "SLEEP": "0.2"}
    done = call(*words[4:], "--deadline", "300ms", store="sqlite:///app.db", env=slow)
    assert done.returncode == 3
    assert json.loads(done.stdout)["reason"] == "deadline"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "pipeline ="),
        (("nowhere:shop",), "no module 'nowhere'"),
        (("app:shops",), "shop"),
        (("app",), "MODULE:"),
        (("app:shop", "--engine", "steam"), "steam"),
    ],
)
def test_a_pipeline_that_is_none(words: tuple[str, ...], said: str, app: Path) -> None:
    done = fork("run", *words, store="sqlite:///app.db")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_pipeline_names_its_own_store(app: Path) -> None:
    text = APP.replace('"shop",', '"shop", store="sqlite:///own.db",')
    (app / "app.py").write_text(text)
    (app / "belaypin.toml").write_text('store = "sqlite:///file.db"\n')
    fork("run", "app:shop")
    assert (app / "own.db").exists()
    assert not (app / "file.db").exists()
    fork("run", "app:shop", store="sqlite:///environment.db")
    assert (app / "environment.db").exists()


def test_upgrade_state(app: Path, empty: str) -> None:
    with belaypin.open(empty) as store:
        store.save(("shop", "site:1"), {"n": 1})
    words = ("upgrade-state", "shop", "--schema", "app:SCHEMA")
    assert valid("upgrade-state", answer(*words, "--dry-run", store=empty))["upcast"] == 1
    assert answer("get", "shop/site:1", store=empty)["state"] == {"n": 1}
    assert valid("upgrade-state", answer(*words, "--yes", store=empty))["upcast"] == 1
    assert answer("get", "shop/site:1", store=empty)["schema_version"] == 1
    assert answer(*words, "--confirm", "--yes", store=empty)["dropped"] == 1
    assert "no 'SCHEMAS'" in fork(*words[:-1], "app:SCHEMAS", "-n", store=empty).stderr


def test_bench_leaves_nothing_behind(folder: Path, empty: str) -> None:
    before = sorted(path.name for path in folder.iterdir())
    found = valid(
        "bench", answer("bench", "--items", "50", "--page", "10", "--rounds", "1", store=empty)
    )
    assert found["tax"] > 0
    assert sorted(path.name for path in folder.iterdir()) == before
    if empty.startswith("postgres"):
        with belaypin.open(empty) as store:
            sql = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'bench%%'"
            assert store.execute(sql).rows == [(0,)]
