"""The drill: it finds nothing in a pipeline as it should be, and what is wrong with one that is not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator

import belaypin
from belaypin.drill import CannotDrill, NotDeterministic, Options, Outcome, drill
from tools import cli_schemas

ROOT = Path(__file__).resolve().parents[2]
Note = Callable[[str, object], None]


@pytest.fixture(params=["file", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is empty, but there."""
    url: str = f"sqlite:///{tmp_path}/app.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    belaypin.open(url).close()
    return url


def drilled(name: str, url: str, kills: int = 3, **options: Any) -> Outcome:
    given = {"empty": True, "seed": 1, **options}
    asked = Options(pipeline=f"tests.drill.shop:{name}", store=url, kills=kills, **given)
    return drill(asked, lambda what, done, of: None)


def databases(url: str) -> list[str]:
    """Those of the server whose name says that a drill made them."""
    with psycopg.connect(url) as connection:
        found = "SELECT datname FROM pg_database WHERE datname LIKE 'belaypin_drill_%'"
        return [name for (name,) in connection.execute(found).fetchall()]


def test_nothing_is_found_in_a_pipeline_as_it_should_be(url: str) -> None:
    outcome = drilled("shop", url)
    assert outcome.is_proven, outcome.differences
    assert (outcome.kills, sum(outcome.kills_by_kind.values())) == (3, 3)
    assert outcome.tables == {"orders": 2 * 24 + 2}
    assert outcome.commits == 2 * 4 + 2
    assert outcome.rate_bound == 1
    assert outcome.recoveries >= 1
    assert outcome.recovery_p50_s is not None
    with belaypin.open(url) as store:
        assert store.pipelines() == []  # the real store was only read
    if url.startswith("postgres"):
        assert "orders.n" in outcome.not_compared
        assert databases(url) == []


def test_a_copy_has_what_the_store_has(tmp_path: Path) -> None:
    copies_what_there_is(f"sqlite:///{tmp_path}/app.db")


@pytest.mark.long
def test_a_copy_of_a_database_that_is_in_use_has_what_it_has(postgres_url: str) -> None:
    copies_what_there_is(postgres_url)  # by pg_dump, as others are connected


def copies_what_there_is(url: str) -> None:
    with belaypin.open(url) as store:
        store.execute("CREATE TABLE orders (n INTEGER, id TEXT, site TEXT)")
        store.execute("INSERT INTO orders (id) VALUES ('old')")
        with store.lease("shop", "site:0", ttl_s=3600):  # somebody is at work in the real store
            outcome = drilled("shop", url, kills=1, empty=False)
            assert store.execute("SELECT COUNT(*) FROM orders").rows == [(1,)]
    assert outcome.is_proven, outcome.differences
    assert outcome.tables == {"orders": 1 + 2 * 24 + 2}


def test_rows_that_are_written_before_the_commit_are_doubled(tmp_path: Path) -> None:
    outcome = drilled("doubling", f"sqlite:///{tmp_path}/app.db", kills=8)
    assert not outcome.is_proven
    assert outcome.doubled > 0
    assert outcome.rate_bound is None
    (found,) = outcome.differences
    assert (found.kind, found.where, found.lost) == ("table", "orders", 0)
    assert any("'id': 'site:" in example for example in found.examples)


@pytest.mark.long
def test_rows_that_are_written_after_the_commit_are_lost(tmp_path: Path) -> None:
    outcome = drilled("losing", f"sqlite:///{tmp_path}/app.db", kills=8)
    assert not outcome.is_proven
    assert outcome.lost > 0
    assert "lost: " in str(outcome.differences[0])


def test_runs_that_differ_by_themselves_are_not_blamed_on_kills(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    with pytest.raises(NotDeterministic, match="--ignore orders.site"):
        drilled("dicing", url)


@pytest.mark.long
def test_what_differs_from_run_to_run_can_be_left_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    outcome = drilled("dicing", url, kills=1, ignore=("orders.site",))
    assert outcome.is_proven
    assert "orders.site" in outcome.not_compared


def test_what_can_not_be_drilled_says_why(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    with pytest.raises(CannotDrill, match="nothing to do"):
        drilled("idle", url)
    with pytest.raises(CannotDrill, match="fails by itself"):
        drilled("failing", url)
    with pytest.raises(CannotDrill, match="every item failed.* nowhere.* @setup"):
        drilled("hopeless", url)
    with pytest.raises(CannotDrill, match="no store"):
        drilled("shop", url, empty=False)
    with pytest.raises(belaypin.UsageError, match="nothing"):
        drilled("nothing", url)


# --- the command --------------------------------------------------------------------------------


def command(*words: str, folder: Path = ROOT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "belaypin.cli", "drill", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_notes_what_it_found_in_the_store(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    belaypin.open(url).close()
    words = ("tests.drill.shop:shop", "--store", url, "--kills", "1", "--empty", "--json")
    with command(*words) as called:
        text, said = called.communicate()
    assert called.returncode == 0, said
    figures = json.loads(text)
    Draft202012Validator(cli_schemas.schemas()["drill"]).validate(figures)
    with belaypin.open(url) as store:
        (noted,) = store.drills("shop")
        health = store.health(pipeline="shop")
    assert (noted.kills, noted.lost, noted.doubled) == (1, 0, 0)
    assert (health.drilled_kills, health.drilled_at) == (1, noted.at)
    assert health.drilled_recovery == noted.recovery_p99


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere:pipeline",), "no module"),
        (("tests.drill.shop:shop", "--store", "sqlite:///nowhere.db"), "no store"),
        (("tests.drill.shop:idle", "--empty"), "nothing to do"),
    ],
)
def test_a_call_that_can_not_work_is_refused(words: tuple[str, ...], said: str) -> None:
    with command(*words) as called:
        _, told = called.communicate()
    assert called.returncode == 2, told
    assert said in told


def test_a_drill_of_the_demo_leaves_nothing_in_the_git_folder(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".git" / "belaypin-drill-of-long-ago.db").touch()
    with command("demo", "--store", "sqlite:///nowhere.db", folder=tmp_path) as called:
        _, told = called.communicate()
    assert called.returncode == 2, told
    assert list((tmp_path / ".git").glob("belaypin-drill-*")) == []


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with command("tests.drill.shop:shop", "--empty", "--kills", "500", "--no-record") as called:
        deadline_s = time.monotonic() + 60
        while not list(tmp_path.glob("belaypin-drill-*/copy-2.db")):
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        called.send_signal(signal.SIGINT)
        called.communicate(timeout=60)
    assert called.returncode == 130
    assert list(tmp_path.glob("belaypin-drill-*")) == []


# --- drills in the store --------------------------------------------------------------------------


def test_drills_are_kept_newest_first(url: str) -> None:
    with belaypin.open(url) as store:
        assert store.health().drilled_at is None
        store.record_drill("shop", kills=300, recovery_p50="200ms", recovery_p99="1s")
        store.record_drill("till", kills=10, lost=1, doubled=2)
        assert [(each.pipeline, each.kills) for each in store.drills()] == [
            ("till", 10),
            ("shop", 300),
        ]
        (shop,) = store.drills("shop")
        assert (shop.rate_bound, shop.as_dict()["recovery_p99"]) == (0.01, 1.0)
        health = store.health(pipeline="till")
        assert (health.drilled_kills, health.drilled_lost, health.drilled_doubled) == (10, 1, 2)
        assert health.drilled_recovery is None
        assert store.health().drilled_kills == 10
        with pytest.raises(belaypin.UsageError, match="without kills"):
            store.record_drill("shop", kills=0)


# --- long -----------------------------------------------------------------------------------------


@pytest.mark.long
def test_two_hundred_kills_of_the_demo(url: str, record_property: Note) -> None:
    outcome = drill(
        Options(
            pipeline="belaypin.demo.pipeline:pipeline", store=url, kills=200, empty=True, seed=7
        ),
        lambda what, done, of: None,
    )
    record_property("drill", str(outcome.as_dict()))
    assert outcome.is_proven, outcome.differences
