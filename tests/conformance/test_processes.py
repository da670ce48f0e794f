"""Processes: a fork owns nothing of its parent's, and SIGTERM lets go of what is held."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import belaypin
from tests.conformance.places import LocalPlace

FORK = """
import os, sys, warnings
import belaypin

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads: that is the point
url, leave, where = sys.argv[1:]

def child():
    for use in (lambda: store.load("p"), lambda: store.save("p", 2), lambda: tx.execute("SELECT 1"),
                lambda: store.lease("p", "other").acquire(), lambda: lease.release()):
        try:
            use()
        except belaypin.StoreClosed as error:
            assert "fork" in str(error), error
        else:
            print("the child used what is its parent's", use.__code__.co_names, file=sys.stderr)
            os._exit(3)
    if leave == "_exit":
        os._exit(0)
    if leave == "close":
        store.close()
    if leave == "raise":
        raise ZeroDivisionError
    sys.exit(0)

def fork():
    pid = os.fork()
    if not pid:
        child()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == (1 if leave == "raise" else 0), status

store = belaypin.open(url)
with store:
    store.execute("CREATE TABLE effect (id TEXT)")
    store.save("p", 1)
    with store.lease("p", "e", ttl_s=60) as lease:
        for window in lease.windows("s", since="1d"):
            for page in window.pages(lambda cursor: ([{"id": 1}], None)):
                with page.commit() as tx:
                    tx.fresh(page.items, key="id")
                    tx.execute("INSERT INTO effect VALUES ('before')")
                    if where == "inside":
                        fork()
                    tx.execute("INSERT INTO effect VALUES ('after')")
        if where == "between":
            page = None
            with lease.changed("c", 1) as change:
                tx = change.tx
                fork()
        assert lease.token
    assert store.load("p").state == 1
with belaypin.open(url) as again, again.lease("p", "e"):
    assert again.seen(("p", "e", "s"), [1, 9]) == {1}
    again.save("p", 3)
print("the parent is done")
"""


@pytest.mark.parametrize("database", ["file", "postgres"])
@pytest.mark.parametrize("leave", ["_exit", "sys.exit", "close", "raise"])
@pytest.mark.parametrize("where", ["inside", "between"])
def test_a_fork_owns_nothing_of_its_parents(place: LocalPlace, leave: str, where: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FORK, place.url, leave, where],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "the parent is done\n"), run.stderr
    assert sorted(place.query("SELECT id FROM effect")) == [("after",), ("before",)]
    if not place.url.startswith("postgresql:"):
        assert place.query("PRAGMA integrity_check") == [("ok",)]


TERMINATED = """
import signal, sys, time
import belaypin

def stop(*_):
    sys.exit(7)

signal.signal(signal.SIGTERM, stop)
with belaypin.open(sys.argv[1]) as store:
    store.execute("CREATE TABLE effect (id TEXT)")
    with store.lease("p", "e", ttl_s=3600) as lease:
        for window in lease.windows("s", since="1d"):
            for page in window.pages(lambda cursor: ([{"id": cursor}], (cursor or 0) + 1)):
                with page.commit() as tx:
                    tx.fresh(page.items, key=lambda item: item["id"] or 0)
                    tx.execute("INSERT INTO effect VALUES ('x')")
                    if sys.argv[2] == "inside" and page.items[0]["id"] == 3:
                        print("ready", flush=True)
                        time.sleep(30)
                if sys.argv[2] == "busy" and page.items[0]["id"] == 3:
                    print("ready", flush=True)
"""


@pytest.mark.parametrize("database", ["file", "postgres"])
@pytest.mark.parametrize("where", ["inside", "busy"])
def test_sigterm_releases_the_lease(place: LocalPlace, where: str) -> None:
    command = [sys.executable, "-c", TERMINATED, place.url, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 7, stderr
    # Not waiting for its time, nor for anybody to find out that its holder is dead.
    assert place.query("SELECT expires_us FROM belaypin_lease") == [(0,)]
    pages = len(place.query("SELECT id FROM effect"))
    with belaypin.open(place.url) as store:
        seen = store.seen(("p", "e", "s"), range(pages + 2))
        assert len(seen) == pages
        with store.lease("p", "e"):
            pass


def test_a_dead_holder_is_not_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    die = (
        "import belaypin, os, sys\n"
        "lease = belaypin.open(sys.argv[1]).lease('p', 'e', ttl_s=3600)\n"
        "lease.acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run([sys.executable, "-c", die, url], check=False)
    assert run.returncode == -signal.SIGKILL
    with belaypin.open(url) as store, store.lease("p", "e") as lease:
        assert lease.token
