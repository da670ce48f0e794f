"""What Prometheus itself says of our metrics, and whether each alert fires when it should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import belaypin
from belaypin import metrics
from tests.services.programs import prometheus_programs

pytestmark = pytest.mark.proof

HERE = Path(__file__).parent
ALERTS = HERE.parents[1] / "docs" / "grafana" / "alerts.yml"
TESTS = HERE / "alerts.test.yml"


@pytest.fixture(scope="module")
def promtool() -> str:
    return str(prometheus_programs().folder / "promtool")


def test_each_alert_fires_when_it_should(promtool: str, tmp_path: Path) -> None:
    for path in (ALERTS, TESTS):
        shutil.copy(path, tmp_path)
    run = subprocess.run(
        [promtool, "test", "rules", TESTS.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_each_alert_is_tried() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    tried = re.findall(r"alertname: (\w+)\n +exp_alerts:", TESTS.read_text(encoding="utf-8"))
    assert alerts
    assert {*tried} == {*alerts}


def test_it_finds_nothing_wrong_with_names_and_types(promtool: str, sqlite_url: str) -> None:
    with belaypin.open(sqlite_url) as store:
        store.save(("social", "user:7", "posts"), {})
        exposed, _ = metrics.Exporter(store).exposition()
    run = subprocess.run(
        [promtool, "check", "metrics"], input=exposed, capture_output=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
