"""The processes that the SIGKILL harness runs: new ones, and children of a warm one."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from belaypin.clock import monotonic_s

__all__ = ["Kill", "Kind", "Nursery", "Script", "ScriptFailed", "Spawner"]

Kind = Literal["random time", "line", "new line", "statement", "commit"]

_START_UP_S = 0.15
_AFTER_COMMIT_S = 0.008
"""How long after a commit a kill falls, at most: about the time of a few commits."""
_SHOWN_CHARS = 3000


class Script(NamedTuple):
    """A pipeline as a program of its own: ``python PATH ARGS...``."""

    path: str | Path
    args: tuple[str, ...] = ()


class ScriptFailed(AssertionError):
    """The script ended with an error, or not at all, and not because of a kill."""


class Kill(NamedTuple):
    """What a process is to die of."""

    kind: Kind
    number: int = 0
    """Of the commit after which it dies (0: before the first), of the line, or of the statement.

    Around a commit: 1 before the first, 2 right behind it, 3 before the second, and so on.
    """
    share: float = 0.0
    """At a random time: how much of the time until the next commit it lives."""
    modules: Sequence[str] = ()
    spared: Sequence[str] = ()
    """At a new line: those that are none."""


class Spawner:
    """Runs a script in a new process, and kills it from the outside."""

    def __init__(
        self, script: Script, timeout_s: float, on_first_commit: Callable[[float], None]
    ) -> None:
        self._script = script
        self._timeout_s = timeout_s
        self._on_first_commit = on_first_commit
        self._start_up_s = _START_UP_S

    def run(self, kill: Kill | None) -> bool:
        """Run it once; return whether it was killed, as opposed to done."""
        with tempfile.TemporaryFile() as stderr:
            started_s = monotonic_s()
            with subprocess.Popen(
                [sys.executable, str(self._script.path), *self._script.args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            ) as child:
                try:
                    shot = self._follow(child, started_s, kill)
                    code = child.wait(self._timeout_s)
                except BaseException:
                    child.kill()
                    raise
            if code == 0 or (shot and code == -signal.SIGKILL):
                return code != 0
            raise _failed(self._script, f"exit code {code}", stderr)

    def _follow(self, child: subprocess.Popen[bytes], started_s: float, kill: Kill | None) -> bool:
        """Count the commits that the child tells of, and kill it when its time has come."""
        assert child.stdout is not None
        commits = 0
        last_s, due_s = started_s + self._timeout_s, math.inf
        if kill is not None and not kill.number:
            due_s = started_s + kill.share * self._start_up_s
        while True:
            wait_s = max(0.0, min(due_s, last_s) - monotonic_s())
            if not select.select([child.stdout], [], [], wait_s)[0]:
                child.kill()
                if due_s > last_s:
                    raise ScriptFailed(f"{self._script.path} ran for over {self._timeout_s:g} s")
                return True
            if not os.read(child.stdout.fileno(), 65_536):
                return False
            commits += 1
            if commits == 1:
                self._start_up_s = monotonic_s() - started_s
                self._on_first_commit(self._start_up_s)
            if kill is not None and commits == kill.number:
                due_s = monotonic_s() + kill.share * _AFTER_COMMIT_S


class Nursery:
    """A warm process, and the children that it forks, one at a time: see ``_victim``."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reports: IO[bytes],
        stderr: IO[bytes],
        timeout_s: float,
    ) -> None:
        self._process = process
        self._reports = reports
        self._stderr = stderr
        self._timeout_s = timeout_s

    @staticmethod
    @contextmanager
    def open(script: Script, timeout_s: float) -> Iterator[Nursery]:
        """Warm a process up for this script."""
        reading, writing = os.pipe()
        with tempfile.TemporaryFile() as stderr, os.fdopen(reading, "rb") as reports:
            command = [sys.executable, "-m", "belaypin.testing._victim", str(writing)]
            process = subprocess.Popen(
                [*command, str(script.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=[writing],
                start_new_session=True,
            )
            os.close(writing)
            nursery = Nursery(process, reports, stderr, timeout_s)
            try:
                nursery._read(script)
                yield nursery
            finally:
                nursery._end()
                process.communicate()

    def run(self, script: Script, kill: Kill) -> str | None:
        """Run the script in a child; return where it was killed, None if it was not."""
        assert self._process.stdin is not None
        order = {**kill._asdict(), "args": script.args}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        place: str | None = None
        while "code" not in (said := self._read(script)):
            place = said["place"]
        if said["code"] == 0 or (place is not None and said["code"] == -signal.SIGKILL):
            return place
        raise _failed(script, f"exit code {said['code']}", self._stderr)

    def _end(self) -> None:
        """Kill the warm process and its child, if there is one."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _read(self, script: Script) -> dict[str, Any]:
        watch = threading.Timer(self._timeout_s, self._end)
        watch.start()
        line = self._reports.readline()
        watch.cancel()
        if not line:
            raise _failed(script, f"no answer within {self._timeout_s:g} s", self._stderr)
        said: dict[str, Any] = json.loads(line)
        return said


def _failed(script: Script, how: str, stderr: IO[bytes]) -> ScriptFailed:
    stderr.seek(0)
    said = stderr.read().decode("utf-8", "replace").strip()[-_SHOWN_CHARS:]
    return ScriptFailed(f"{script.path} ended by itself with {how}. It said:\n{said}")
