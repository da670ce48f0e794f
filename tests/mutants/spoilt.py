"""A copy of the package with one mistake in it, and whether the tests see that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import belaypin

__all__ = ["Mutant", "is_caught"]

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(belaypin.__file__).parent
# Of the tests that it is given, those marked `proof` count as well.
PYTEST = (sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-m", "not long")


class Mutant(NamedTuple):
    """In ``file``, the first ``old`` that comes after ``after`` becomes ``new``."""

    file: str
    old: str
    new: str
    after: str = ""
    times: int = 1


def is_caught(mutant: Mutant, tests: str, only: str, folder: Path, postgres_url: str) -> bool:
    """Whether one of ``tests`` (those that match ``only``) fails on the mutant.

    When a mutant's line can't be found any more, the code has changed: spoil it where it stands now.
    """
    copy = folder / "belaypin"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    spoilt = copy / mutant.file
    text = spoilt.read_text(encoding="utf-8")
    start = text.index(mutant.after)
    assert mutant.old in text[start:], f"{mutant.old!r} is not in {mutant.file} any more"
    spoilt.write_text(text[:start] + text[start:].replace(mutant.old, mutant.new, mutant.times))
    run = subprocess.run(
        (*PYTEST, "-k", only, str(ROOT / "tests" / tests)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder), "BELAYPIN_TEST_POSTGRES": postgres_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout[-3000:] + run.stderr[-3000:]
    assert f"in {copy}" in run.stdout, "it was not the mutant that was run"
    return run.returncode == 1
