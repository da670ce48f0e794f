"""A command starts at once: what it does not need is not loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from belaypin.cli.commands import COMMANDS

RUNS = 4
BASE = ("-c", "import click, belaypin")
HEAVY = {"asyncio", "psycopg", "redis", "rich", "sqlite3", "starlette", "tomllib"}


def _used_s(*command: str) -> float:
    """What one process computes. Not by the clock on the wall: the machine does other things too."""
    before = os.times()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    after = os.times()
    used_s = after.children_user + after.children_system
    return used_s - before.children_user - before.children_system


def test_it_starts_quickly(sqlite_store: str) -> None:
    """No command computes much more than the import of click and belaypin does.

    Measured: 1.1 for the list of commands (2.5, when it loaded them all), 1.3 for the help of one,
    2.1 for a command that reads, of which the half is SQLite and the store's own modules.
    """
    limits = {"--help": 1.7, "status --help": 2.0, f"status --store {sqlite_store}": 3.5}
    commands = {words: ("-m", "belaypin.cli", *words.split()) for words in limits}
    used_s: dict[str, list[float]] = {words: [] for words in ("", *limits)}
    for _ in range(RUNS):  # in turn, so that a busy machine is busy for all; the least counts
        used_s[""].append(_used_s(*BASE))
        for words, command in commands.items():
            used_s[words].append(_used_s(*command))
    times = {words: min(used_s[words]) / min(used_s[""]) for words in limits}
    assert {words: round(times[words], 2) for words in limits if times[words] > limits[words]} == {}


def _loaded(*words: str) -> set[str]:
    code = (
        f"import sys; sys.argv = ['belaypin', *{words!r}]\n"
        "try:\n from belaypin.cli import main; main()\n"
        "finally:\n print('\\n', *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return {*run.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("words", ["--version", "--help", "status --help"])
def test_it_loads_nothing_heavy(words: str) -> None:
    loaded = _loaded(*words.split())
    assert "click" in loaded
    assert loaded & HEAVY == set()


def test_help_loads_no_command() -> None:
    modules = {f"belaypin.cli.{command.module}" for command in COMMANDS.values()}
    assert _loaded("--help") & modules == set()
    assert len(_loaded("status", "--help") & modules) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_has_a_whole_sentence_for_each(name: str) -> None:
    line = COMMANDS[name].help
    assert line[0].isupper()
    assert line[-1] == "."
    assert len(line) <= 78 - 2 - len("upgrade-state") - 2  # a row on a terminal of 80 columns
