"""Servers do not run as root: the user they run as then, and folders which that user can reach."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TypedDict

from tests.services.keeper import Keeper

__all__ = ["As", "as_user", "make_folder", "reachable"]

OWN_USER = "belaypin-tests"
SOCKET_PATH_MAX = 80  # the kernel's limit is about 107 bytes, the socket's name included


class As(TypedDict, total=False):
    """The keywords of subprocess.Popen that choose the user; empty for our own."""

    user: int
    group: int
    extra_groups: list[int]


@cache
def as_user() -> As:
    """How to start a server: as ourselves, or when we are root as a user with no rights."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody", OWN_USER):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    subprocess.run(["useradd", "--system", "--no-create-home", OWN_USER], check=True)
    entry = pwd.getpwnam(OWN_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def reachable(path: Path) -> bool:
    """Whether the servers' user can read ``path`` through all folders above it."""
    return subprocess.run(["test", "-r", path], check=False, **as_user()).returncode == 0


def make_folder(keeper: Keeper, root: Path | None = None) -> Path:
    """A new private folder of the servers' user, in ``root`` if it can be; the keeper removes it."""
    for parent in (root or tempfile.gettempdir(), "/var/tmp", "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="belaypin-", dir=parent))
        if who := as_user():
            os.chown(folder, who["user"], who["group"])
        if len(str(folder)) <= SOCKET_PATH_MAX and reachable(folder):
            keeper.keep_folder(folder)
            return folder
        shutil.rmtree(folder)
    raise RuntimeError("no temporary folder that another user can reach: set TMPDIR to one")
