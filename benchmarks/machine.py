"""What the figures were measured on, as far as it matters to them."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import psycopg

import belaypin

__all__ = ["describe"]


def describe(folder: Path, postgres_url: str | None) -> dict[str, str]:
    """Versions, cores, how busy it is, and how long its disk takes to make a page durable."""
    found = {
        "belaypin": belaypin.__version__,
        "python": platform.python_version(),
        "machine": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load": f"{os.getloadavg()[0]:.2f} before the run",
        "fsync": f"{_fsync_ms(folder):.2f} ms for 4 KiB",
        "sqlite": f"{sqlite3.sqlite_version}, journal_mode {_journal_mode(folder)}",
    }
    return {**found, "postgresql": _postgres(postgres_url)} if postgres_url else found


def _fsync_ms(folder: Path) -> float:
    took_s = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s) * 1000


def _postgres(url: str) -> str:
    with psycopg.connect(url) as connection:
        settings = ("server_version", "fsync", "synchronous_commit")
        rows = [connection.execute(f"SHOW {name}").fetchone() for name in settings]
    version, fsync, synchronous_commit = (str(row[0]) for row in rows if row)
    return f"{version}, fsync {fsync}, synchronous_commit {synchronous_commit}"


def _journal_mode(folder: Path) -> str:
    with belaypin.open(f"sqlite:///{folder}/any.db") as store:
        (row,) = store.execute("PRAGMA journal_mode").rows
        return str(row[0])
