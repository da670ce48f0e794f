"""A disk that is full, a file that may not grow or be written: told, nothing lost, work goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection

import pytest

import belaypin
from belaypin._sync.store import Store
from belaypin.backends.sqlite import SqliteBackend
from tests.crash.mine import Mine
from tests.crash.world import Theatre

Note = Callable[[str, object], None]

FULL = {"StoreFull", "StoreUnavailable"}
"""The kernel says EFBIG at RLIMIT_FSIZE, which SQLite takes for an I/O error."""
STEP_BYTES = 24 * 1024


class _SmallDisk(SqliteBackend):
    """A database that can't grow beyond so many pages."""

    def __init__(self, theatre: Theatre, pages: int) -> None:
        self._pages = pages
        path = theatre.url.removeprefix("sqlite:///")
        super().__init__(path, pinned_clock=theatre.clock.now_us)

    def _connect(self) -> Connection:
        connection = super()._connect()
        connection.execute(f"PRAGMA max_page_count = {self._pages}")
        return connection


def test_a_full_disk_at_every_growth(sqlite_theatre: Theatre, record_property: Note) -> None:
    refused = 0
    for room in range(8):
        world = sqlite_theatre.world(pages=40, page_items=10)
        pages = sqlite_theatre.outside.one("PRAGMA page_count")
        with Store(_SmallDisk(sqlite_theatre, pages + room)) as store:
            try:
                world.mine(store)
            except belaypin.StoreFull:
                refused += 1
        world.check()
    assert refused > 3
    record_property("note", f"SQLite full at {refused} places: StoreFull, nothing lost or doubled")


def test_a_worker_goes_on_once_there_is_room(sqlite_theatre: Theatre) -> None:
    world = sqlite_theatre.world(pages=60, page_items=10)
    pages = sqlite_theatre.outside.one("PRAGMA page_count")
    backend = _SmallDisk(sqlite_theatre, pages + 2)
    with Store(backend) as store, world.held(store) as lease:
        with pytest.raises(belaypin.StoreFull, match="make room"):
            world.commit_all(lease)
        for connection in backend._idle:
            connection.execute("PRAGMA max_page_count = 1000000")
        world.commit_all(lease)
    world.check()


def test_a_file_that_may_not_grow(tmp_path: Path, record_property: Note) -> None:
    mine = Mine(tmp_path, share=4, entities=4)
    script = mine.fresh()[0]
    ends: Counter[str] = Counter()
    size = STEP_BYTES
    while True:
        command = [sys.executable, "-c", LIMITED, str(size), str(script.path), *script.args]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode == 0:
            break
        last = [line for line in ran.stderr.splitlines() if line.startswith("belaypin.errors.")]
        assert last, ran.stderr
        ends[last[-1].partition(":")[0].rpartition(".")[2]] += 1
        size += STEP_BYTES
    assert mine.verify() == (0, 0)
    assert sum(ends.values()) > 3
    assert set(ends) <= FULL
    record_property("note", f"a file that may not grow: {dict(ends)}, nothing lost or doubled")


LIMITED = """
import os, resource, sys
size = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
READ_ONLY = """
import os, sys
import belaypin, belaypin._sync.store, belaypin.backends.sqlite
if os.geteuid() == 0:
    os.setuid(65534)  # nothing is read-only to root
with belaypin.open(sys.argv[1]) as store:
    assert store.load("key").state == {"n": 1}
    try:
        store.save("key", {"n": 2})
    except belaypin.BelaypinError as error:
        print(type(error).__name__, error)
"""


def test_a_file_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory(prefix="belaypin-") as folder:
        os.chmod(folder, 0o755)
        path = Path(folder) / "store.db"
        url = f"sqlite:///{path}"
        with belaypin.open(url) as store:
            store.save("key", {"n": 1})
        for file in Path(folder).iterdir():
            file.chmod(0o444)
        os.chmod(folder, 0o555)
        command = [sys.executable, "-c", READ_ONLY, url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert said.startswith("StoreFull")
        assert "writable" in said
        os.chmod(folder, 0o755)
        path.chmod(0o644)
        with belaypin.open(url) as store:
            assert store.save("key", {"n": 2}) == 2
