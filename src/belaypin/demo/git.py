"""What git itself reports: the only source of truth that the demo has."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from .errors import CannotRun

__all__ = ["Change", "Git", "locate", "run_git"]

_CHUNK_BYTES = 1 << 20
_NEWLINE, _NUL = b"\n", b"\0"

# Variables that point git to a repository of their own (git rev-parse --local-env-vars).
_POINTERS = re.compile(
    r"GIT_(DIR|WORK_TREE|COMMON_DIR|INDEX_FILE|PREFIX|NAMESPACE|OBJECT_DIRECTORY"
    r"|ALTERNATE_OBJECT_DIRECTORIES|GRAFT_FILE|SHALLOW_FILE|REPLACE_REF_BASE|NO_REPLACE_OBJECTS)"
)


class Change(NamedTuple):
    """One path that one commit changed. ``status`` is git's letter: A, M, D or T."""

    commit: str
    path: bytes
    status: str


class Git:
    """A repository, read by git's plumbing commands: their output ignores the user's settings."""

    def __init__(self, git_dir: Path, environment: dict[str, str]) -> None:
        self.git_dir = git_dir
        self._environment = environment

    def tips(self, into: Path) -> None:
        """Write the commits that HEAD and all references point to, one a line.

        They pin the history: whatever is committed later is no part of it.
        """
        into.write_bytes(self._run("rev-list", "--no-walk", "--all"))

    def commits(self, tips: Path, placeholders: str) -> Iterator[tuple[str, list[bytes]]]:
        """Stream each commit reachable from ``tips``: its id and the fields asked for.

        ``placeholders`` are those of ``git log --format``, separated by spaces: ``"%an %ae"``.
        """
        if not tips.stat().st_size:
            return  # an empty repository: git would rather print its usage
        template = placeholders.replace(" ", "%x00")
        command = ("rev-list", "--stdin", "--encoding=UTF-8", f"--format={template}")
        with tips.open("rb") as stdin:
            lines = self._split(_NEWLINE, *command, stdin=stdin)
            for head, fields in zip(lines, lines, strict=True):
                yield head.removeprefix(b"commit ").decode("ascii"), fields.split(_NUL)

    def changes(self, commits: Path) -> Iterator[Change]:
        """Stream the paths that each commit changed, in the order of the file ``commits``.

        As ``git diff-tree -r --root`` lists them: a root commit adds all its files, a merge lists
        none, a renamed file is one deleted and one added.
        """
        command = ("diff-tree", "--stdin", "-r", "--root", "--no-renames", "--raw", "-z")
        with commits.open("rb") as stdin:
            fields = self._split(_NUL, *command, "--ignore-submodules=none", stdin=stdin)
            commit = ""
            for field in fields:
                if field.startswith(b":"):  # ":100644 100644 old new M", then the path
                    status = field.rpartition(b" ")[2].decode("ascii")
                    yield Change(commit, next(fields), status)
                else:
                    commit = field.decode("ascii").strip()

    def _run(self, *command: str) -> bytes:
        return run_git(f"--git-dir={self.git_dir}", *command, environment=self._environment)

    def _split(self, separator: bytes, *command: str, stdin: IO[bytes]) -> Iterator[bytes]:
        """Run git and stream the parts of its output, each of which ends with ``separator``."""
        with _started(
            f"--git-dir={self.git_dir}", *command, env=self._environment, stdin=stdin
        ) as out:
            rest = b""
            while chunk := out.read(_CHUNK_BYTES):
                *parts, rest = (rest + chunk).split(separator)
                yield from parts


def locate(path: Path | None) -> tuple[Git, Path] | None:
    """Find the repository at ``path``, or around the current folder: it, and its shared git folder.

    None means that the current folder stands in no repository.

    Raises:
        CannotRun: ``path`` is no repository, git is missing, or git refuses the repository.
    """
    # In English, as one of git's messages is looked at.
    environment = dict(os.environ, LC_ALL="C")  # noqa: TID251  # what git itself would be given
    if path is not None:
        environment = {k: v for k, v in environment.items() if not _POINTERS.fullmatch(k)}
    start = path or Path()
    ask = ("-C", str(start), "rev-parse")
    try:
        git_dir = _line(run_git(*ask, "--absolute-git-dir", environment=environment))
        common_dir = _line(run_git(*ask, "--git-common-dir", environment=environment))
    except CannotRun as error:
        if path is None and "not a git repository" in str(error):
            return None
        raise CannotRun(f"no history can be read in {start}: {error}") from error
    return Git(Path(git_dir), environment), (start / common_dir).resolve()


def run_git(*command: str, environment: dict[str, str] | None = None, stdin: bytes = b"") -> bytes:
    """Run git to its end and return what it printed.

    Raises:
        CannotRun: git is missing or failed; the message is git's own.
    """
    try:
        done = subprocess.run(
            ["git", *command], env=environment, input=stdin, capture_output=True, check=False
        )
    except OSError as error:
        raise CannotRun(
            f"git cannot be run ({error}): install it, or put it on the PATH, then run again"
        ) from error
    if done.returncode:
        raise _failed(done.stderr)
    return done.stdout


@contextlib.contextmanager
def _started(*command: str, env: dict[str, str], stdin: IO[bytes]) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as stderr:
        with subprocess.Popen(
            ["git", *command], env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            stderr.seek(0)
            raise _failed(stderr.read())


def _line(output: bytes) -> str:
    return os.fsdecode(output.removesuffix(b"\n"))


def _failed(stderr: bytes) -> CannotRun:
    said = stderr.decode("utf-8", "replace").strip()
    return CannotRun(f"git failed: {said or 'it gave no reason'}")
