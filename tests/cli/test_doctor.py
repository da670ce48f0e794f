"""``belaypin doctor``: each thing that can be wrong is found, and has its advice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import belaypin
from tests.cli.shop import answer, call, fork

URL = "sqlite:///app.db"


def checks(code: int = 0, **named: Any) -> dict[str, Any]:
    found = answer("doctor", store=named.get("store", URL), code=code)
    assert found["ok"] is (code == 0)
    return {check["name"]: check for check in found["checks"]}


def test_a_store_that_is_well(folder: Path) -> None:
    belaypin.open(URL).close()
    found = checks()
    assert {each["verdict"] for each in found.values()} <= {"ok", "warning"}
    assert found["orphans"]["verdict"] == "ok"


def test_what_waits_for_a_person(folder: Path) -> None:
    with belaypin.open(URL) as store:
        store.quarantine(("shop", "till", "sales"), 7, "odd")
    found = checks()
    assert found["failures"]["verdict"] == "warning"
    assert "belaypin failures" in found["failures"]["advice"]
    text = fork("doctor", store=URL).stdout
    assert "WARN  failures: 1 items are put aside\n      -> " in text


def test_a_store_that_is_behind(folder: Path) -> None:
    belaypin.open(URL).close()
    with closing(sqlite3.connect("app.db")) as connection, connection:
        newest = "(SELECT max(version) FROM belaypin_migration)"
        connection.execute(f"DELETE FROM belaypin_migration WHERE version = {newest}")
    assert "belaypin migrate" in checks(1)["database"]["found"]
    missing = answer("migrate", "--dry-run", store=URL)
    assert (missing["done"], len(missing["steps"])) == (False, 1)
    done = fork("status", store=URL)
    assert done.returncode == 2
    assert "belaypin migrate" in done.stderr


def test_no_store_at_all(folder: Path) -> None:
    assert "belaypin init" in checks(1)["database"]["found"]
    assert fork("migrate", store=URL).returncode == 2
    assert fork("migrate", "--sql", store=URL).stdout.startswith("-- 0001")
    assert list(folder.iterdir()) == []


def test_durability_that_is_off(folder: Path, postgres_url: str) -> None:
    belaypin.open(postgres_url).close()
    sign = "&" if "?" in postgres_url else "?"
    loose = f"{postgres_url}{sign}options=-csynchronous_commit%3Doff"
    found = checks(store=loose)
    assert found["database"]["found"].startswith("PostgreSQL")
    assert found["clock"]["verdict"] == "ok"
    assert found["synchronous_commit"]["verdict"] == "warning"
    assert "may lose" in found["synchronous_commit"]["advice"]


def test_a_cache_that_is_gone_and_one_that_is_there(folder: Path, redis_url: str) -> None:
    belaypin.open(URL).close()
    done = call("doctor", store=URL, env={"BELAYPIN_CACHE": redis_url})
    assert "ok    cache: " in done.stdout, done.stderr
    done = call("doctor", store=URL, env={"BELAYPIN_CACHE": "redis://:hunter22@127.0.0.1:1/0"})
    assert done.returncode == 0
    assert "WARN  cache: " in done.stdout
    assert "hunter22" not in done.stdout + done.stderr
