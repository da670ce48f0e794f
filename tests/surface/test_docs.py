"""The docs are true: their code runs, their links lead somewhere, every name has its place.

How the code of a page is run: see ``tests.pages``. Pages about other tools (``use-with-*.md``) are run
by ``tests/integrations``, where these tools are.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest

import belaypin
from belaypin import errors
from tests.pages import (
    DOCS,
    INTEGRATION_PAGES,
    PAGES,
    ROOT,
    Run,
    connects_to_postgres,
    has_code,
    name_of,
    prose,
)
from tools import generate_reference

SQL = ROOT / "src" / "belaypin" / "sql"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def _pages(*, postgres: bool) -> list[Path]:
    here = [page for page in PAGES if page not in INTEGRATION_PAGES and has_code(page)]
    return [page for page in here if connects_to_postgres(page) is postgres]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")  # as in a terminal: what was printed was seen
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # readers' pytest lacks our plugins
    return tmp_path


@pytest.mark.parametrize("page", _pages(postgres=False), ids=name_of)
def test_its_code_runs(page: Path, folder: Path) -> None:
    Run(page, folder).run()


@pytest.mark.parametrize("page", _pages(postgres=True), ids=name_of)
def test_its_code_runs_with_postgresql(page: Path, folder: Path, postgres_url: str) -> None:
    Run(page, folder, postgres_url).run()


# --- links and names ----------------------------------------------------------------------------


def _anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them in links."""
    headings = _HEADING.findall(prose(page))
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", h).strip().lower() for h in headings)
    return {re.sub(r"[^\w\- ]", "", h).replace(" ", "-") for h in plain}


def _links(page: Path) -> Iterator[tuple[Path, str]]:
    for link in _LINK.findall(prose(page)):
        if "://" not in link:
            path, _, anchor = unquote(link).partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _links(page):
        assert target.exists(), target
        if anchor:
            assert anchor in _anchors(target), f"{target.name} has no heading #{anchor}"


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    ahead = [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.suffix == ".md" and page.is_file():
            reached.add(page)
            ahead += [target for target, _ in _links(page)]
    assert set(PAGES) - reached - {DOCS / "decisions" / "0000-template.md"} == set()


def test_every_public_name_has_its_place_in_the_reference() -> None:
    reference = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    classes = {name.removeprefix("Async") for name in belaypin.__all__} - {"__version__"}
    missing = [n for n in classes - set(errors.__all__) if f"`belaypin.{n}" not in reference]
    assert missing == []


def test_every_error_has_its_place_in_the_reference() -> None:
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in errors.__all__ if f"\n## {name}\n" not in page] == []


def test_the_generated_reference_is_fresh() -> None:
    assert generate_reference.main(["--check"]) == 0, "run: python tools/generate_reference.py"


def test_the_statements_of_a_commit_are_named_as_in_the_code() -> None:
    queries = "".join(p.read_text(encoding="utf-8") for p in SQL.rglob("*.sql"))
    page = (DOCS / "explanation" / "how-a-commit-works.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:checkpoint|coverage|lease|segment|stream)\.\w+)`", page))
    assert {name for name in named if f"-- name: {name}\n" not in queries} == set()


def test_every_table_and_column_is_explained(folder: Path) -> None:
    page = (DOCS / "explanation" / "data-layout.md").read_text(encoding="utf-8")
    belaypin.open("sqlite:///app.db").close()
    with closing(sqlite3.connect("app.db")) as connection:
        tables = "SELECT name FROM sqlite_master WHERE name LIKE 'belaypin_%' ORDER BY name"
        for (table,) in connection.execute(tables).fetchall():
            _, _, section = page.partition(f"\n## {table}\n")
            section = section.partition("\n## ")[0]
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            assert [c for c in columns if f"`{c}`" not in section] == [], table
