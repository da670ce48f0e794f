"""The wheel holds all of the package and nothing else, and it is what the tests run against."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest

import belaypin

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _source_files() -> dict[str, bytes]:
    files = [p for p in (SOURCE / "belaypin").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    return {p.relative_to(SOURCE).as_posix(): p.read_bytes() for p in files}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return ZipFile(path)


def _metadata(wheel: ZipFile, name: str) -> bytes:
    return wheel.read(f"belaypin-{belaypin.__version__}.dist-info/{name}")


@pytest.fixture(scope="module")
def headers(wheel: ZipFile) -> Message:
    return message_from_bytes(_metadata(wheel, "METADATA"))


def test_the_wheel_is_the_package(wheel: ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name: wheel.read(name) for name in names} == _source_files()
    assert "belaypin/py.typed" in names
    assert any(name.endswith(".sql") for name in names)


def test_the_wheel_has_the_licence_and_the_command(wheel: ZipFile, headers: Message) -> None:
    assert _metadata(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert b"belaypin = belaypin.cli:main" in _metadata(wheel, "entry_points.txt")
    assert headers["License-Expression"] == "Apache-2.0"
    assert headers["Requires-Python"] == ">=3.11"


def test_the_base_install_is_small(headers: Message) -> None:
    requirements = headers.get_all("Requires-Dist") or []
    base = sorted(r for r in requirements if "extra ==" not in r)
    assert [r.split(">=")[0] for r in base] == ["backports-zstd", "click", "msgspec", "rich"]
    assert {*(headers.get_all("Provides-Extra") or [])} == {*PROJECT["optional-dependencies"]}


def test_the_tests_run_against_the_installed_package() -> None:
    """Run ``make install`` (or ``make quick``) when this fails: the source is newer."""
    installed = Path(belaypin.__file__).parent
    assert SOURCE not in installed.parents
    files = [p for p in distribution("belaypin").files or [] if p.parts[0] == "belaypin"]
    found = {p.as_posix(): p.read_binary() for p in files if p.suffix != ".pyc"}
    assert sorted(found) == sorted(_source_files())
    assert [name for name, text in _source_files().items() if found[name] != text] == []
