"""The rules of the house that a machine can see. Each fails with the places that break it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "belaypin"
DIALECTS = ("sqlite", "postgres")

FUNCTION_LINES = 60
MODULE_LINES = 500

# What a commit never holds: folders of one machine, and where packages are fetched from.
MACHINE = re.compile(
    r"/(?:work|farm|root|home|Users|tmp/\w+)/\w"
    r"|(?:pypi|npmjs|pythonhosted|debian)\.(?:org|com)/(?:simple|packages|debian)"
    r"|(?:registry|files|deb)\.(?:npmjs|pythonhosted|debian)\."
    r"|(?:extra-)?index-url|--hash=|find-links",
    re.IGNORECASE,
)


def _committed() -> list[Path]:
    """Every file of the repository that is, or by the next `git add` would be, committed."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    return [path for name in names if name and (path := ROOT / name.decode()).is_file()]


def _sources(*folders: str) -> Iterator[Path]:
    """The Python files that people write."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_sync" not in path.parts:
                yield path


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_point_inward() -> None:
    program = str(Path(sys.executable).with_name("lint-imports"))
    lint = [program, "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    run = subprocess.run(lint, cwd=ROOT / "src", capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = []
    for path in _committed():
        if path == Path(__file__):
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{_name(path)}: {match[0]}" for match in MACHINE.finditer(text)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["see /work" + "/x", "cd /root" + "/y", "https://pypi.org" + "/simple", "--index-url" + " x"],
)
def test_what_names_a_machine_is_seen(line: str) -> None:
    assert MACHINE.search(line)


def test_constraints_are_names_and_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("#")
    assert [x for x in lines[1:] if not re.fullmatch(r"[\w.-]+==[\w.]+", x)] == []


def test_what_integrations_need_is_listed() -> None:
    """`make integrations` installs the list, and nothing that is not on it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for listed in extras.values() for each in listed)]
    names = {re.split(r"[\[<>=;]", each)[0] for each in wanted} - {"belaypin"}
    listed = (
        (ROOT / "constraints-integrations.txt")
        .read_text(encoding="utf-8")
        .lower()
        .replace("_", "-")
    )
    assert {name for name in names if not re.search(rf"^{name}==", listed, re.MULTILINE)} == set()


# --- size ---------------------------------------------------------------------------------------


def test_modules_have_one_subject() -> None:
    sizes = {p: p.read_text(encoding="utf-8").count("\n") for p in _sources("src", "tools")}
    assert {_name(p): n for p, n in sizes.items() if n > MODULE_LINES} == {}


def test_functions_are_one_thought() -> None:
    found = {}
    for path in _sources("src", "tools", "examples", "benchmarks", "tests"):
        for node in ast.walk(_tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found[f"{_name(path)}: {node.name}"] = lines
    assert found == {}


# --- SQL ----------------------------------------------------------------------------------------


def _defined(dialect: str) -> list[str]:
    """The names of the statements that a database has, its own and the shared ones."""
    names: list[str] = []
    for path in sorted((PACKAGE / "sql").rglob("*.sql")):
        if not set(path.relative_to(PACKAGE).parts) & {*DIALECTS} - {dialect}:
            names += re.findall(r"^-- name: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return names


def _strings(path: Path) -> set[str]:
    nodes = ast.walk(_tree(path))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


def _yielded(path: Path) -> Iterator[str]:
    """The names in ``Statement("area.verb", ...)``."""
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Call(func=ast.Name(id="Statement"), args=[ast.Constant(value=str(name)), *_]):
                yield name


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_statement_that_is_used_is_defined_once(dialect: str) -> None:
    used = {name for path in _sources("src/belaypin") for name in _yielded(path)}
    defined = _defined(dialect)
    assert used, "no Statement found: has the way to write one changed?"
    assert sorted(used - {*defined}) == []
    assert sorted(name for name in {*defined} if defined.count(name) > 1) == []
    assert [name for name in defined if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_statement_that_is_defined_is_used(dialect: str) -> None:
    used = {name for path in _sources("src/belaypin") for name in _strings(path)}
    assert sorted({*_defined(dialect)} - used) == []
