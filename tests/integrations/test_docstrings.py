"""The examples in the docstrings of what needs the real frameworks, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import belaypin
from tests.surface.test_docstrings import ELSEWHERE, MODULES

RUN = """
import doctest, importlib, sys
result = doctest.testmod(importlib.import_module(sys.argv[1]), optionflags=doctest.ELLIPSIS)
sys.exit(result.failed != 0)
"""


def _has_examples(module: str) -> bool:
    """By its text: to import it takes seconds."""
    path = Path(belaypin.__file__).parents[1].joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ">>>" in file.read_text(encoding="utf-8")


EXAMPLES = [name for name in MODULES if name.startswith(ELSEWHERE) and _has_examples(name)]


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_run(module: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    run = subprocess.run(
        [sys.executable, "-c", RUN, module],
        cwd=tmp_path,
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
