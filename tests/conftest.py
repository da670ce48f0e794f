"""What every test has: no silent skips, real servers, and Hypothesis profiles."""

from __future__ import annotations

import gc
import os
import sqlite3
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import belaypin
from tests.services.memory import scratch_root

pytest_plugins = ["tests.no_skips", "tests.notes", "tests.services.fixtures"]

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(scratch_root()))

# The suite is product code that asserts, and other tests borrow from it: let pytest say what was wrong,
# whoever imports it first.
pytest.register_assert_rewrite("belaypin.testing.conformance")

# Everyday runs draw the same examples each time: what fails in CI fails at the desk. `make long`
# draws new ones, and more of them.
settings.register_profile(
    "everyday",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long", parent=settings.get_profile("everyday"), derandomize=False, max_examples=5_000
)
settings.load_profile(os.environ.get("BELAYPIN_HYPOTHESIS", "everyday"))


def pytest_collection_finish() -> None:
    """What is imported by now stays: each collection of garbage would look through all of it again."""
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str:
    where = Path(belaypin.__file__).parent
    return f"belaypin {version('belaypin')} in {where}, SQLite {sqlite3.sqlite_version}"
