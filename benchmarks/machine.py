"""What the figures were measured on, as far as it matters to them."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import belaypin

__all__ = ["describe"]


def describe(folder: Path, postgres: str | None) -> dict[str, str]:
    """Versions, cores, how busy it is, and how long its disk takes to make a page durable."""
    found = {
        "belaypin": belaypin.__version__,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load": f"{os.getloadavg()[0]:.2f} before the run",
        "fsync": f"{_fsync_ms(folder):.2f} ms for 4 KiB",
        "sqlite": f"{sqlite3.sqlite_version}, journal_mode {_journal_mode(folder)}",
    }
    return {**found, "postgresql": postgres} if postgres else found


def _fsync_ms(folder: Path) -> float:
    took_s = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s) * 1000


def _journal_mode(folder: Path) -> str:
    with belaypin.open(f"sqlite:///{folder}/any.db") as store:
        (row,) = store.execute("PRAGMA journal_mode").rows
        return str(row[0])
