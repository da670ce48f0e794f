"""What the real frameworks leave behind lies in a folder that goes with the run; none goes on running."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.services import Keeper

# Where they keep settings, data, logs and sockets; several are read when the package is imported.
# Ray's sockets have long names of their own, and the name of a socket may have 107 bytes.
FOLDERS = {
    "HOME": ".",
    "AIRFLOW_HOME": "airflow",
    "DASK_TEMPORARY_DIRECTORY": "dask",
    "PREFECT_HOME": "prefect",
    "RAY_TMPDIR": ".",
}
SETTINGS = {"DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}  # nothing is to be sent from tests
MARK = "BELAYPIN_TEST_INTEGRATIONS"
LAST_S = 240  # Ray's agents try to tell a head that was killed, for up to two minutes

_keeper = pytest.StashKey[Keeper]()


def pytest_configure(config: pytest.Config) -> None:
    """Before the frameworks are imported, in each worker of pytest-xdist too."""
    parent = "/tmp" if os.path.isdir("/tmp") else None
    home = Path(tempfile.mkdtemp(prefix="belaypin-", dir=parent))
    config.stash[_keeper] = Keeper()
    config.stash[_keeper].keep_folder(home)
    os.environ.update({name: str(home / folder) for name, folder in FOLDERS.items()}, **SETTINGS)


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_keeper].close()


@pytest.fixture(scope="session", autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Whatever the tests start, and that starts, has ended when the last test has."""
    os.environ[MARK] = mark = str(os.getpid())  # from here on: the servers of the tests are there
    yield
    ours = [
        each for each in psutil.process_iter() if _mark_of(each) == mark and not _is_tracker(each)
    ]
    _, alive = psutil.wait_procs(ours, timeout=LAST_S)
    assert not alive, [process.as_dict(["pid", "cmdline"]) for process in alive]


def _mark_of(process: psutil.Process) -> str | None:
    """As its environment was when it began."""
    try:
        mark: str | None = process.environ().get(MARK)
    except psutil.Error:
        return None
    return mark


def _is_tracker(process: psutil.Process) -> bool:
    """Whether it is Python's own beside this process, with which it ends."""
    try:
        tracker = any("multiprocessing.resource_tracker" in word for word in process.cmdline())
        return tracker and process.ppid() == os.getpid()
    except psutil.Error:
        return False


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, of each kind that a store can be in."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
