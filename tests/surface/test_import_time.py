"""``import belaypin`` costs next to nothing: no driver, no event loop, no terminal toolkit."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

import pytest

LIMIT_S = 0.15
RUNS = 7

HEAVY = ["asyncio", "click", "psycopg", "psycopg_pool", "redis", "rich", "sqlalchemy", "sqlite3"]

MEASURE = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import belaypin
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "new": sorted(set(sys.modules) - before)}))
"""


def _import_once() -> dict[str, Any]:
    """What importing belaypin adds to a bare interpreter: seconds, and modules."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    measured: dict[str, Any] = json.loads(run.stdout)
    return measured


def test_import_is_quick() -> None:
    _import_once()  # the first one may still compile
    seconds = [_import_once()["seconds"] for _ in range(RUNS)]
    assert statistics.median(seconds) < LIMIT_S, f"{seconds}; see python -X importtime"


@pytest.mark.parametrize("heavy", HEAVY)
def test_import_loads_nothing_heavy(heavy: str) -> None:
    loaded = {name.partition(".")[0] for name in _import_once()["new"]}
    assert heavy not in loaded


NOT_FOR_A_WORKER = [
    "asyncio",
    "belaypin._sync.evolution",
    "belaypin._sync.joined",
    "belaypin._sync.upkeep",
    "belaypin._sync.writer",
    "belaypin.records.explanation",
    "belaypin.records.health",
    "belaypin.programs.evolution",
    "belaypin.programs.inspection",
    "belaypin.programs.recount",
    "belaypin.programs.upkeep",
    "concurrent.futures",
    "random",
]


def test_opening_a_store_loads_only_what_a_worker_needs() -> None:
    code = "import belaypin, sys; belaypin.open('sqlite:///:memory:'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*NOT_FOR_A_WORKER} & {*run.stdout.split()} == set()
