"""A command starts at once: what it does not need is not loaded."""

from __future__ import annotations

import os
import subprocess
import sys

LIMIT_S = 0.25
RUNS = 3

HEAVY = {"asyncio", "psycopg", "redis", "rich", "sqlite3", "starlette"}


def _seconds(*words: str) -> float:
    """How much more a command computes than a bare interpreter; the least of some runs.

    Not by the clock on the wall: that one also counts what else the machine does.
    """

    def once(*command: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = os.times()
        used_s = after.children_user + after.children_system
        return used_s - before.children_user - before.children_system

    once("-m", "belaypin.cli", *words)  # the first one may still compile
    bare_s = min(once("-c", "pass") for _ in range(RUNS))
    return min(once("-m", "belaypin.cli", *words) for _ in range(RUNS)) - bare_s


def test_it_starts_quickly() -> None:
    assert _seconds("--version") < LIMIT_S
    assert _seconds("status", "--help") < LIMIT_S


def test_a_command_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['belaypin', '--version']\n"
        "try:\n from belaypin.cli import main; main()\n"
        "finally:\n print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert "click" in loaded
    assert loaded & HEAVY == set()
