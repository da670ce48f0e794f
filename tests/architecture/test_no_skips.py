"""The rule that no test is skipped, itself tested in runs of pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


REFUSED = """
import pytest, unittest

@pytest.mark.skip(reason="because")
def test_skip(): pass

@pytest.mark.skipif(True, reason="because")
def test_skipif(): pass

def test_skip_inside():
    pytest.skip("because")

@pytest.fixture
def fixture():
    pytest.skip("because")

def test_skip_in_fixture(fixture): pass

@pytest.mark.xfail(reason="because")
def test_xfail(): assert False

@pytest.mark.xfail(reason="because")
def test_xpass(): pass

def test_xfail_inside():
    pytest.xfail("because")

class TestCase(unittest.TestCase):
    def test_skip_in_unittest(self):
        self.skipTest("because")
"""


def _pytest(folder: Path, **sources: str) -> subprocess.CompletedProcess[str]:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.no_skips", "-c", "/dev/null", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_skip_or_an_expected_failure_fails(tmp_path: Path) -> None:
    run = _pytest(tmp_path, test_refused=REFUSED, test_passes="def test(): pass")
    assert run.returncode == 1, run.stdout
    assert "5 failed, 1 passed, 3 errors" in run.stdout.splitlines()[-1]
    assert run.stdout.count("because (not in tests/no_skips.py)") >= 8


def test_a_module_that_skips_itself_fails(tmp_path: Path) -> None:
    run = _pytest(
        tmp_path,
        test_skips="import pytest\npytest.skip('because', allow_module_level=True)",
        test_wants="import pytest\npytest.importorskip('no_such_module', reason='because')",
    )
    assert run.returncode == 2, run.stdout
    assert "2 errors" in run.stdout.splitlines()[-1]
