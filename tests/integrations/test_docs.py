"""The pages about other tools are true: each runs in a process of its own, with the real packages.

A process of its own, as many tools may be set up only once in a process; with an empty folder as its
home, as many keep their settings and data there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import INTEGRATION_PAGES, ROOT, connects_to_postgres, name_of

TIMEOUT_S = 240


def _pages(*, postgres: bool) -> list[Path]:
    return [page for page in INTEGRATION_PAGES if connects_to_postgres(page) is postgres]


def test_there_are_pages() -> None:
    assert INTEGRATION_PAGES


@pytest.mark.parametrize("page", _pages(postgres=False), ids=name_of)
def test_its_code_runs(page: Path, tmp_path: Path) -> None:
    _run(page, tmp_path)


@pytest.mark.parametrize("page", _pages(postgres=True), ids=name_of)
def test_its_code_runs_with_postgresql(page: Path, tmp_path: Path, postgres_url: str) -> None:
    _run(page, tmp_path, postgres_url)


def _run(page: Path, folder: Path, *postgres_url: str) -> None:
    elsewhere = {"AIRFLOW_HOME", "PREFECT_HOME"}  # readers have neither
    environment = {
        **{name: value for name, value in os.environ.items() if name not in elsewhere},
        "HOME": str(folder),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.pages", str(page), *postgres_url],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if run.returncode:
        pytest.fail(f"{name_of(page)}\n{run.stdout}", pytrace=False)
