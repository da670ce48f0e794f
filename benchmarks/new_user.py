"""A new user's way, timed step by step: install, the README, a pipeline of their own, a drill.

The wheel is built first, untimed; what it depends on comes from where pip gets packages here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, run
from typing import Any

from benchmarks.figures import Figure, say
from tests.newcomer import STEPS, prepare, type_in
from tests.pages import ROOT

__all__ = ["measure"]

_AIM_S = 60.0
"""Machine time of all steps together: what is left of a first minute is theirs."""


def measure() -> Iterator[Figure]:
    """Seconds of each step, and of all together."""
    with tempfile.TemporaryDirectory(prefix="belaypin-new-user-") as place:
        folder = Path(place)
        wheel = _built(folder / "wheel")
        programs = folder / "venv" / "bin"
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("python -m venv", lambda: _called(sys.executable, "-m", "venv", programs.parent)),
            ("pip install belaypin", lambda: _called(programs / "pip", "install", "-q", wheel)),
        ]
        (work := folder / "work").mkdir()
        prepare(work)
        steps += [(step.what, partial(type_in, step, work, programs)) for step in STEPS]
        yield from _timed(steps)


def _timed(steps: list[tuple[str, Callable[[], Any]]]) -> Iterator[Figure]:
    total_s = 0.0
    for what, act in steps:
        say(f"new_user: {what}")
        began_s = time.perf_counter()
        act()
        took_s = time.perf_counter() - began_s
        total_s += took_s
        yield Figure.of("new_user", what, "s", [took_s])
    yield Figure.of("new_user", "all together", "s", [total_s], at_most=_AIM_S)


def _built(folder: Path) -> Path:
    _called(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation",
            "-w", folder, ROOT)  # fmt: skip
    return next(folder.glob("*.whl"))


def _called(*command: str | Path) -> None:
    run(command, check=True, stdin=DEVNULL)
