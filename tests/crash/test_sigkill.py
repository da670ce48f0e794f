"""Miners of real data under SIGKILL: nothing is lost, nothing doubled, no stale write accepted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from belaypin.testing.sigkill import Report, ScriptFailed, campaign, every_line
from tests.crash.campaign import kill, table
from tests.crash.mine import FULL_MINER, Mine
from tests.services import Services, fresh_database

pytestmark = pytest.mark.proof

Note = Callable[[str, object], None]

CORE = (
    "belaypin._sync.store",
    "belaypin._sync.lease",
    "belaypin._sync.taking",
    "belaypin._sync.window",
    "belaypin._sync.commit",
    "belaypin._sync.work",
    "belaypin._sync.change",
    "belaypin._sync.once",
    "belaypin.programs.pages",
    "belaypin.programs.courses",
    "belaypin.programs.ledger",
    "belaypin.programs.coverage",
    "belaypin.programs.leases",
    "belaypin.programs.migrations",
    "belaypin.programs.operations",
)
LONG_SQLITE, LONG_POSTGRES = 2_000, 300


def _assert_exactly_once(report: Report, mine: Mine, note: Note, what: str) -> None:
    assert (report.lost, report.doubled) == (0, 0)
    note("note", f"{what}, {mine.items} items of {mine.dump.name}: {report}")


def test_a_kill_at_every_line_of_the_core(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path, share=40, entities=2, page_size=10)
    report = every_line(mine.fresh, mine.verify, modules=CORE)
    assert len(report.places) == report.kills.total() > 250
    _assert_exactly_once(report, mine, record_property, "every line, SQLite")


def test_kills_anywhere_on_sqlite(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path, share=4)
    report = campaign(mine.fresh, mine.verify, at_random=15, at_lines=40, at_statements=40)
    assert report.kills.total() == 95
    _assert_exactly_once(report, mine, record_property, "SQLite")


def test_kills_anywhere_with_everything_switched_on(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path, share=10, miner=FULL_MINER)
    report = campaign(mine.fresh, mine.verify, at_random=8, at_lines=20, at_statements=20)
    _assert_exactly_once(report, mine, record_property, "SQLite, everything switched on")


def test_kills_anywhere_with_everything_switched_on_on_postgres(
    tmp_path: Path, postgres_url: str, record_property: Note
) -> None:
    mine = Mine(tmp_path, postgres_url, share=10, miner=FULL_MINER)
    report = campaign(mine.fresh, mine.verify, at_random=4, at_lines=8, at_statements=8)
    _assert_exactly_once(report, mine, record_property, "PostgreSQL, everything switched on")


def test_kills_anywhere_on_postgres(
    tmp_path: Path, postgres_url: str, record_property: Note
) -> None:
    mine = Mine(tmp_path, postgres_url, share=8)
    report = campaign(mine.fresh, mine.verify, at_random=10, at_lines=15, at_statements=15)
    assert report.kills.total() == 40
    _assert_exactly_once(report, mine, record_property, "PostgreSQL")


@pytest.mark.parametrize("second", ["main 2", "live"])
def test_two_miners_at_one_entity_on_sqlite(
    tmp_path: Path, second: str, record_property: Note
) -> None:
    mine = Mine(tmp_path, roles=("main", second), share=10, entities=2)
    report = campaign(mine.fresh, mine.verify, at_random=6, at_lines=15, at_statements=15)
    _assert_exactly_once(report, mine, record_property, f"SQLite, main and {second}")


@pytest.mark.parametrize("second", ["main 2", "live"])
def test_two_miners_at_one_entity_on_postgres(
    tmp_path: Path, postgres_url: str, second: str, record_property: Note
) -> None:
    mine = Mine(tmp_path, postgres_url, roles=("main", second), share=10, entities=2)
    report = campaign(mine.fresh, mine.verify, at_random=6, at_lines=10, at_statements=10)
    _assert_exactly_once(report, mine, record_property, f"PostgreSQL, main and {second}")


# --- the harness itself -------------------------------------------------------------------------


def test_a_script_that_fails_by_itself_is_told_from_a_kill(tmp_path: Path) -> None:
    mine = Mine(tmp_path, share=100, entities=1)
    broken = mine.script("main")._replace(args=("nonsense",) * 6)
    with pytest.raises(ScriptFailed, match="UsageError"):
        campaign(lambda: [broken], mine.verify, at_random=1)
    with pytest.raises(ScriptFailed, match="UsageError"):
        campaign(lambda: [broken], mine.verify, at_lines=1)


def test_work_that_never_ends_is_told(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text("import time\nif __name__ == '__main__':\n    time.sleep(60)\n")
    mine = Mine(tmp_path, share=100, entities=1)
    endless = mine.script("main")._replace(path=script)
    with pytest.raises(ScriptFailed):
        campaign(lambda: [endless], mine.verify, at_statements=1, timeout_s=1)


# --- long ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_campaign(record_property: Note) -> None:
    with Services() as services:
        rows = list(kill("SQLite", LONG_SQLITE, None, seed=1))
        with fresh_database(services.postgres_in_production.url) as url:
            rows += kill("PostgreSQL", LONG_POSTGRES, url, seed=1)
    record_property("note", table(rows))
    total = Report()
    for _, report in rows:
        total.add(report)
    assert total.kills.total() >= LONG_SQLITE + LONG_POSTGRES
    assert (total.lost, total.doubled) == (0, 0)
    assert total.percentile_s(50) < 0.5
    assert total.percentile_s(99) < 1.0


@pytest.mark.long
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_kill_at_every_line(
    tmp_path: Path, postgres_url: str, database: str, record_property: Note
) -> None:
    url = postgres_url if database == "postgres" else None
    mine = Mine(tmp_path, url, share=20, entities=2)
    report = every_line(mine.fresh, mine.verify)
    assert len(report.places) > 800
    _assert_exactly_once(report, mine, record_property, f"every line, {database}")
