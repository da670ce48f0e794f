"""A pytest plugin: a test that is skipped, or expected to fail, fails.

A skip that nobody sees is a test that nobody runs. Where one is right after all, it stands in
ALLOWED, for everybody to see.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

# Node id (or the start of one) -> why it may be skipped or fail, and until when. Keep it empty.
ALLOWED: dict[str, str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped or hasattr(report, "wasxfail"):
        _refuse(report, getattr(report, "wasxfail", ""))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse(report, "")
    return report


def _refuse(report: pytest.TestReport | pytest.CollectReport, expected: str) -> None:
    if report.nodeid.startswith(tuple(ALLOWED)):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else expected
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {reason or 'no reason'} (not in tests/no_skips.py)"
    if hasattr(report, "wasxfail"):
        del report.wasxfail
