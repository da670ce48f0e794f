"""Somebody who is new here gets from the README to a drilled pipeline of their own, as typed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.newcomer import DOUBLED, OLD, READINGS, STATIONS, STEPS, count, prepare, type_in


def test_from_the_readme_to_a_drilled_pipeline_of_ones_own(tmp_path: Path) -> None:
    prepare(tmp_path)
    programs = Path(sys.executable).parent
    said = {step.what: type_in(step, tmp_path, programs) for step in STEPS}
    assert count(tmp_path / "app.db", "SELECT count(*) FROM posts") == 1000
    assert count(tmp_path / "app.db", "SELECT count(DISTINCT id) FROM posts") == 1000

    items = STATIONS * READINGS
    first, again = said["own pipeline, first run"], said["own pipeline, again: nothing new"]
    assert f"{STATIONS} entities done, 0 failed" in first
    assert f"readings: {items} new" in first
    assert "readings: 0 new" in again
    assert count(tmp_path / "weather.db", "SELECT count(*) FROM readings") == items + OLD
    assert count(tmp_path / "weather.db", DOUBLED) == 0
    assert "weather" in said["status"]
    assert "Nothing was lost, nothing was doubled." in said["drill"]
    assert f"readings ({items} rows)" in said["drill"]
