"""Pages of the documentation, run from top to bottom.

The blocks of a page run in order, in an empty folder:

- ``python`` in one namespace for the whole page; with ``# name.py`` as its first line it is
  written to that file instead.
- ``console``: each ``$ command`` by bash. What sets up a machine is not run, but its extras,
  targets and options must exist: see ``_check_setup``.
- ``sql`` on the page's database (its one .db file, or PostgreSQL), through the driver alone.
- ``text`` right behind one of these is what it prints, as is what follows a command; ``...``
  stands for anything.

A page that connects to ``postgresql:///app`` gets an empty PostgreSQL database for it.

    python -m tests.pages PAGE [POSTGRES_URL]    # in a process of its own, in the working folder
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from belaypin.cli import main as cli

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
# What needs more packages than development has; `make integrations` has them.
INTEGRATION_PAGES = sorted((DOCS / "how-to").glob("use-with-*.md"))

# pycon comes from docstrings, which run elsewhere
NOT_RUN = {"json", "mermaid", "pycon", "toml", "yaml"}
SETUP = {"cd", "createdb", "git", "make", "pip", "psql", "sudo"}
SLOW = {"demo"}  # commands of belaypin that are only checked to exist
POSTGRES_URL = "postgresql:///app"
CONNECTS = '("postgresql'  # in a call

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.\w+)\n")
_DIFFERS = doctest.OutputChecker().output_difference
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page where the text begins."""

    language: str
    text: str
    line: int
    is_right_behind: bool
    """Whether nothing but blank lines separates it from the block before."""


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found, end = [], 0
    for fence in _FENCE.finditer(text):
        is_right_behind = end > 0 and not text[end : fence.start()].strip()
        line = text.count("\n", 0, fence.start(2)) + 1
        found.append(Block(fence[1], fence[2], line, is_right_behind))
        end = fence.end()
    assert text.count("```") == 2 * len(found), f"{name_of(page)}: a fence is not as the others are"
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def connects_to_postgres(page: Path) -> bool:
    return CONNECTS in _code(page)


def has_code(page: Path) -> bool:
    return bool(_code(page))


def _code(page: Path) -> str:
    return "".join(block.text for block in blocks(page) if block.language != "text")


class Run:
    """One page, run from top to bottom."""

    def __init__(self, page: Path, folder: Path, postgres_url: str | None = None) -> None:
        self.page = page
        self.folder = folder
        self.postgres_url = postgres_url
        self.module = types.ModuleType("page")

    def run(self) -> None:
        known = set(sys.modules)
        sys.modules["page"] = self.module  # where typing and msgspec look names up
        try:
            printed: str | None = None
            for block in blocks(self.page):
                if block.language == "text":
                    if printed is not None and block.is_right_behind:
                        self._compare(block.text, printed, block)
                    printed = None
                else:
                    printed = self._run(block._replace(text=self._with_url(block.text)))
        finally:
            for name in sys.modules.keys() - known:
                file = getattr(sys.modules[name], "__file__", None)
                if name == "page" or (file and Path(file).is_relative_to(self.folder)):
                    del sys.modules[name]

    def _run(self, block: Block) -> str | None:
        if block.language in NOT_RUN:
            return None
        run = {"python": self._python, "console": self._console, "sql": self._sql}
        assert block.language in run, f"{self._at(block)}: {block.language!r} is not known here"
        return run[block.language](block)

    def _python(self, block: Block) -> str | None:
        if file := _FILE.match(block.text):
            (self.folder / file[1]).write_text(block.text, encoding="utf-8")
            return None
        # Blank lines before it give errors the line number that they have in the page.
        code = compile("\n" * (block.line - 1) + block.text, self.page, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, vars(self.module))
        return printed.getvalue()

    def _console(self, block: Block) -> None:
        for command, expected in _commands(block):
            if not _check_setup(command):
                self._compare(expected, self._bash(command, block), block)

    def _bash(self, command: str, block: Block) -> str:
        run = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        is_killed = run.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
        assert is_killed or run.returncode == 0, f"{self._at(block)}: {command}\n{run.stdout}"
        return run.stdout + ("Killed\n" if is_killed else "")

    def _sql(self, block: Block) -> str:
        lines = []
        with self._connect() as connection:
            for statement in filter(None, map(str.strip, block.text.split(";\n"))):
                rows = connection.execute(statement).fetchall()
                lines += ["|".join("" if v is None else str(v) for v in row) for row in rows]
        return "\n".join(lines)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection | psycopg.Connection]:
        if self.postgres_url is not None:
            with psycopg.connect(self.postgres_url) as connection:
                yield connection
            return
        (file,) = self.folder.glob("*.db")
        with closing(sqlite3.connect(file)) as connection:
            yield connection

    def _compare(self, expected: str, printed: str, block: Block) -> None:
        example = doctest.Example("", expected)
        if not doctest.OutputChecker().check_output(expected, printed, _OPTIONS):
            pytest.fail(f"{self._at(block)}\n{_DIFFERS(example, printed, _OPTIONS)}", pytrace=False)

    def _with_url(self, text: str) -> str:
        if self.postgres_url is None:
            return text
        sqlalchemy_url = self.postgres_url.replace("postgresql:", "postgresql+psycopg:", 1)
        text = text.replace("postgresql+psycopg:///app", sqlalchemy_url)
        return text.replace(POSTGRES_URL, self.postgres_url)

    def _at(self, block: Block) -> str:
        return f"{name_of(self.page)}:{block.line}"


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block, with what it should print."""
    before, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert not before.strip(), f"a console block begins with `$ `: {block.text}"
    for part in parts:
        command, _, expected = part.partition("\n")
        yield command, expected


def _check_setup(command: str) -> bool:
    """Whether a command is not to be run here; then what it names must exist."""
    words = shlex.split(command, comments=True)
    if words[:1] == ["belaypin"]:
        _check_cli(words[1:])
        return words[1] in SLOW
    if words[0] not in SETUP:
        return False
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert f"\n{words[1]}:" in makefile, f"no such target: {command}"
    if words[0] == "pip":
        wanted = set(re.findall(r"belaypin\[([\w,]+)\]", command))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {extra for names in wanted for extra in names.split(",")}
        assert extras <= set(project["optional-dependencies"]), f"no such extra: {command}"
    return True


def _check_cli(words: list[str]) -> None:
    name = words[0]
    command = cli.get_command(cli.make_context("belaypin", [], resilient_parsing=True), name)
    assert command is not None, f"no such command: belaypin {name}"
    known = {option for param in command.params for option in param.opts} | {"--help", "--version"}
    shell = next((n for n, word in enumerate(words) if word in ("|", "||", ">")), len(words))
    given = {word.partition("=")[0] for word in words[:shell] if word.startswith("--")}
    assert given <= known, f"belaypin {name} has no {given - known}"


def main(page: str, postgres_url: str | None = None) -> None:
    Run(Path(page), Path.cwd(), postgres_url).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
