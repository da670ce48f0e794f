"""Run the miner and kill it, with SIGKILL, at random moments."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random  # noqa: TID251  # kills fall by chance; the seed is an argument
from time import perf_counter
from typing import IO

from .errors import CANNOT_RUN, CannotRun, MinerFailed

__all__ = ["Killer"]

_AT_START_UP = 0.2
"""The share of kills that fall between the start of a process and its first commit."""

_AFTER_COMMIT_S = 0.003
_SHOWN_CHARS = 2000


@dataclass
class Killer:
    """Runs ``command`` to its end, and kills it on the way there.

    The command prints the number of new items of each durable commit, one a line. ``on_commit``
    is told that number, ``on_kill`` how many kills there were so far.
    """

    command: Sequence[str]
    chance: Random
    on_commit: Callable[[int], None]
    on_kill: Callable[[int], None]
    kills: int = 0
    recoveries_s: list[float] = field(default_factory=list)
    """From the start of a process to its first new commit, for each restart that had one."""
    _commits: int = 0
    _start_up_s: float = 0.1
    """The shortest time that a start took so far; this, until the first."""

    def run(self, kills: int, expected_commits: int) -> None:
        """Run to the end. There are fewer kills than asked for when the work ends before.

        Raises:
            CannotRun: the command says that it cannot work here at all.
            MinerFailed: the command failed, or somebody else killed it.
        """
        for kills_left in range(kills, 0, -1):
            if not self._killed(self._moment(kills_left, expected_commits - self._commits)):
                return
            self.kills += 1
            self.on_kill(self.kills)
        self._killed(None)

    def _moment(self, kills_left: int, commits_left: int) -> int:
        """Draw after how many commits in all to kill; those there are now mean: while it starts."""
        # Work goes on while a kill is on its way, so the last of it is left in peace.
        latest = commits_left * 4 // 5
        if latest < kills_left or self.chance.random() < _AT_START_UP:
            return self._commits
        return self._commits + min(self.chance.randint(1, latest) for _ in range(kills_left))

    def _killed(self, moment: int | None) -> bool:
        """Run the command once; return whether it was killed, as opposed to done."""
        with tempfile.TemporaryFile() as stderr:
            start_s = perf_counter()
            with subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,  # a terminal's Ctrl-C is for the parent to handle
            ) as child:
                try:
                    shot = self._follow(child, start_s, moment)
                    code = child.wait()
                except BaseException:
                    child.kill()
                    raise
            if code == 0 or (shot and code == -signal.SIGKILL):
                return code != 0
            raise _failure(code, stderr)

    def _follow(self, child: subprocess.Popen[bytes], start_s: float, moment: int | None) -> bool:
        """Read what the child commits until it ends; return whether a kill was sent out."""
        assert child.stdout is not None
        shot = moment is not None and moment <= self._commits
        if shot:
            self._kill_soon(child, self._start_up_s)
        fresh = True
        for line in child.stdout:
            if fresh:
                self._first_commit(perf_counter() - start_s)
                fresh = False
            self._commits += 1
            self.on_commit(int(line))
            if moment is not None and moment <= self._commits and not shot:
                self._kill_soon(child, _AFTER_COMMIT_S)
                shot = True
        return shot

    def _first_commit(self, after_s: float) -> None:
        self._start_up_s = min(self._start_up_s, after_s)
        if self.kills:
            self.recoveries_s.append(after_s)

    def _kill_soon(self, child: subprocess.Popen[bytes], within_s: float) -> None:
        timer = threading.Timer(self.chance.uniform(0, within_s), child.kill)
        timer.daemon = True
        timer.start()


def _failure(code: int, stderr: IO[bytes]) -> CannotRun | MinerFailed:
    stderr.seek(0)
    said = stderr.read().decode("utf-8", "replace").strip()[-_SHOWN_CHARS:]
    if code == CANNOT_RUN:
        return CannotRun(said)
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return MinerFailed(f"the miner ended by {how}, and not by a kill of the demo. It said: {said}")
