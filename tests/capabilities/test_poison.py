"""Items that kill their worker: found by isolation and quarantined, in real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import belaypin
from tests.capabilities import poison

DEATHS_PER_ITEM = poison.RETRY.max_kills + 2  # isolate_after


LIMIT = len(poison.POISON) * DEATHS_PER_ITEM


def deaths_until_done(url: str, how: str, where: str) -> int:
    """How many workers died before one came through."""
    command = [sys.executable, poison.__file__, url, how, where, str(LIMIT + 1)]
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return int(ran.stdout)


@pytest.mark.parametrize(
    ("database", "how", "where"),
    [
        ("file", "exit", "before"),
        ("file", "kill", "inside"),
        ("file", "segfault", "volatile"),
        ("file", "kill", "retry"),
        ("postgres", "kill", "inside"),
    ],
)
def test_items_that_kill_are_found_and_the_rest_is_processed(
    database: str, how: str, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    if database == "postgres":
        url = request.getfixturevalue("postgres_url")
    deaths = deaths_until_done(url, how, where)
    assert len(poison.POISON) <= deaths <= LIMIT
    with belaypin.open(url) as store:
        effects = [n for (n,) in store.execute("SELECT id FROM effect ORDER BY id")]
        assert effects == [n for n in range(poison.ITEMS) if n not in poison.POISON]
        found = store.failures(*poison.KEY)
        payloads = [store.failure(f.failure_id) for f in found]
        assert sorted(f.payload["id"] for f in payloads if f) == [*poison.POISON]
        assert {f.status for f in found} == {"quarantined"}
        assert all(f.error.startswith("Killed: 2 workers died") for f in found)
        if where != "before":
            assert sorted(f.item_id for f in found if f.item_id is not None) == [*poison.POISON]
        assert len(store.gaps(poison.KEY)) >= len(poison.POISON) - 1  # 0 is at the very start
        assert store.verify().ok
        assert deaths_until_done(url, how, where) == 0
        assert [n for (n,) in store.execute("SELECT id FROM effect ORDER BY id")] == effects


def test_an_undisturbed_worker_writes_nothing_down(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with belaypin.open(url) as store:
        for _ in range(3):
            with store.lease(*poison.KEY[:2]) as lease:
                poison.other_window(lease)
                assert lease._fence().deaths == 0
        assert store.execute("SELECT COUNT(*) FROM belaypin_suspect").rows == [(0,)]
