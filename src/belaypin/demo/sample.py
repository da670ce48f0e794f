"""A small real repository, for where there is none: made by git itself, the same each time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from .git import run_git

__all__ = ["make_repository"]

_AUTHORS = (
    ("Ada Lovelace", "ada@example.org"),
    ("José Núñez", "jose@example.org"),
    ("O'Brien; DROP TABLE demo_commits", "brien@example.org"),
    ("山田 太郎", "taro@example.org"),
    ("Grace \\ Hopper", "grace@example.org"),
    ("Łukasz", "lukasz@example.org"),
)
_COMMITS = 400
_FIRST_S = 1_600_000_000
_HOUR_S = 3600


def make_repository(path: Path) -> None:
    """Make a bare repository of some hundred commits at ``path``.

    Several authors take turns; every fifth commit was written days before it was committed, so
    that author times arrive late and out of order; some commits merge.

    Raises:
        CannotRun: git is missing, or the folder cannot be written.
    """
    # Under another name until it is whole, in case this is interrupted.
    unfinished = path.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    run_git("init", "--quiet", "--bare", str(unfinished))
    stream = "".join(_commit(number) for number in range(1, _COMMITS + 1))
    git_dir = f"--git-dir={unfinished}"
    run_git(git_dir, "fast-import", "--quiet", "--done", stdin=f"{stream}done\n".encode())
    run_git(git_dir, "symbolic-ref", "HEAD", "refs/heads/main")
    unfinished.rename(path)


def _commit(number: int) -> str:
    name, email = _AUTHORS[(number * number + number // 5) % len(_AUTHORS)]
    committed_s = _FIRST_S + number * _HOUR_S
    authored_s = committed_s - (number % 9 * 24 * _HOUR_S if number % 5 == 0 else 0)
    message = f"Change {number}: step {number} of many\n"
    return (
        f"commit refs/heads/main\nmark :{number}\n"
        f"author {name} <{email}> {authored_s} +0200\n"
        f"committer Maintainer <maintainer@example.org> {committed_s} +0000\n"
        f"{_data(message)}{_merge(number)}{''.join(_files(number))}\n"
    )


def _merge(number: int) -> str:
    return f"merge :{number - 3}\n" if number % 40 == 0 else ""


def _files(number: int) -> Iterator[str]:
    for turn in range(1 + number % 3):
        path = f"src/part{(number + turn) % 7}/file{number * (turn + 1) % 23}.txt"
        yield f"M 100644 inline {path}\n{_data(f'version {number}')}"


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
