"""A pytest plugin: what tests have to tell although they passed, printed at the end of the run.

A test says `record_property("note", "...")`. With pytest-xdist the notes arrive with the reports.
"""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    notes = [
        value
        for report in terminalreporter.stats.get("passed", [])
        for name, value in report.user_properties
        if name == "note"
    ]
    if notes:
        terminalreporter.section("notes")
    for note in notes:
        terminalreporter.write_line(note)
