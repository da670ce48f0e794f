"""No server outlives us: a process of its own that cleans up when this one ends, however it ends.

The keeper reads which processes and folders are ours from a pipe. When the pipe closes (we closed
it, exited, crashed, or were killed by SIGKILL) it ends those processes and removes those folders.
That needs no exit hook and no signal handler, which tests that fork and kill would trip over.
This file is also the keeper's program: it uses the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["Keeper"]

GRACE_S = 5.0


class Keeper:
    """Says to its process what is ours; ``close`` has it all cleaned up and waits for that."""

    def __init__(self) -> None:
        reading, self._pipe = os.pipe()
        self._open = True
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal is for us, not for the keeper
        )
        os.close(reading)
        # A forked child would hold the pipe open after we are gone.
        os.register_at_fork(after_in_child=self._drop)

    def keep(self, process: subprocess.Popen[bytes], ending: signal.Signals) -> None:
        """End this process by the signal ``ending``, or by SIGKILL in the end, when we are gone."""
        self._say(f"process {process.pid} {ending.value}")

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """This process has ended and its number may be given to another."""
        self._say(f"ended {process.pid}")

    def keep_folder(self, folder: Path) -> None:
        """Remove this folder when we are gone."""
        self._say(f"folder {folder}")

    def close(self) -> None:
        """Have everything cleaned up now."""
        if self._open:
            self._drop()
            self._process.wait(timeout=60)

    def _say(self, line: str) -> None:
        if self._open:
            os.write(self._pipe, f"{line}\n".encode())

    def _drop(self) -> None:
        if self._open:
            self._open = False
            os.close(self._pipe)


def _main() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    processes: dict[int, int] = {}
    folders: set[str] = set()
    for line in sys.stdin:
        verb, _, what = line.rstrip("\n").partition(" ")
        if verb == "folder":
            folders.add(what)
        elif verb == "process":
            pid, _, ending = what.partition(" ")
            processes[int(pid)] = int(ending)
        else:
            processes.pop(int(what), None)
    _end(processes)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _end(processes: dict[int, int]) -> None:
    for pid, ending in processes.items():
        _send(pid, ending)
    patience = time.monotonic() + GRACE_S
    living = set(processes)
    while living and time.monotonic() < patience:
        time.sleep(0.02)
        living = {pid for pid in living if _lives(pid)}
    for pid in living:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists() and _answers(pid)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    _main()
