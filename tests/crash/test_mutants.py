"""Do these tests see anything? Each mutant is a mistake that others made; each must be caught.

A copy of the package is made, one line of it is spoilt, and the interleaving tests are run on the
copy until the first failure. When a mutant's line can't be found any more, the code has changed:
spoil it where it stands now.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import belaypin

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(belaypin.__file__).parent
PYTEST = (sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider")
QUICK = "every_order or crashes_drawn_at_random_on_sqlite"
LEASES = "sql/queries/leases.sql"


class Mutant(NamedTuple):
    """In ``file``, the first ``old`` that comes after ``after`` becomes ``new``."""

    file: str
    old: str
    new: str
    after: str = ""
    times: int = 1


OURS = "AND owner = :owner AND token = :token AND expires_us <> 0"

MUTANTS = {
    "no fencing check at a document": Mutant(
        "programs/leases.py", "    if rows:\n        return", "    return", "def check("
    ),
    "no fencing check at a page": Mutant(
        "sql/queries/ledger.sql", "l.owner = :owner AND l.token = :token", "1 = 1", "stream.lock"
    ),
    "takeover before the lease has expired": Mutant(
        LEASES, "belaypin_lease.expires_us <= excluded.acquired_us", "1 = 1", "lease.acquire"
    ),
    "a token that does not grow": Mutant(
        LEASES,
        "THEN excluded.token ELSE belaypin_lease.token + 1",
        "THEN belaypin_lease.token ELSE belaypin_lease.token",
    ),
    "the ledger in a transaction of its own": Mutant(
        "_sync/commit.py",
        "            appended = self._run(pages.commit(self._fence, self._stream, advance))\n",
        "            self._end()\n"
        "            with self._open_transaction() as other:\n"
        "                appended = other.run(pages.commit(self._fence, self._stream, advance))\n"
        "            return\n",
    ),
    "what others committed is not read": Mutant(
        "programs/ledger.py", "if membership.head_seq == head_seq:", "if True:", "def refresh("
    ),
    "a renewal that is not fenced": Mutant(LEASES, OURS, "", "-- name: lease.renew"),
    "a release that is not fenced": Mutant(LEASES, OURS, "", "-- name: lease.release"),
    "a lease that is read without a lock": Mutant(
        LEASES, f"{OURS}\n{{for_update}}", OURS, "-- name: lease.lock"
    ),
    "a stream that is read without a lock": Mutant(
        "sql/queries/ledger.sql", "{for_update}", "", "-- name: stream.lock"
    ),
    "coverage of what was only begun": Mutant(
        "programs/courses.py",
        "        return self._after, None\n",
        "        return self._after, (self._after.start_us, self._after.end_us)\n",
    ),
    "merged segments that forget": Mutant(
        "programs/ledger.py", "merged = {**older, **merged}", "merged = {**merged}"
    ),
    "content that is not compared again under the lock": Mutant(
        "programs/checkpoints.py", "if stored == content_hash:", "if False:", "def content("
    ),
    "a version that is not compared": Mutant(
        "programs/checkpoints.py",
        "if expected is not None and row.version != expected:",
        "if False:",
        "def save(",
    ),
    "an operation that is completed by whoever comes": Mutant(
        # Twice, when it begins to write and when it ends, is one more than it takes.
        "programs/operations.py",
        "    if not rows:\n        raise _fenced(mine)",
        "",
        times=2,
    ),
    "a migration that is applied again": Mutant(
        "programs/migrations.py", "if step.version in applied:", "if False:", "def apply("
    ),
}
EVERYDAY = (
    "no fencing check at a page",
    "the ledger in a transaction of its own",
    "what others committed is not read",
)


def _is_caught(mutant: Mutant, folder: Path, postgres_url: str) -> bool:
    copy = folder / "belaypin"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    spoilt = copy / mutant.file
    text = spoilt.read_text(encoding="utf-8")
    start = text.index(mutant.after)
    assert mutant.old in text[start:], f"{mutant.old!r} is not in {mutant.file} any more"
    spoilt.write_text(text[:start] + text[start:].replace(mutant.old, mutant.new, mutant.times))
    run = subprocess.run(
        (*PYTEST, "-k", QUICK, str(ROOT / "tests" / "crash" / "test_interleavings.py")),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder), "BELAYPIN_TEST_POSTGRES": postgres_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in (0, 1), run.stdout[-3000:] + run.stderr[-3000:]
    assert f"in {copy}" in run.stdout, "it was not the mutant that was run"
    return run.returncode == 1


@pytest.mark.parametrize("name", EVERYDAY)
def test_a_mutant_is_caught(name: str, tmp_path: Path, postgres_url: str) -> None:
    assert _is_caught(MUTANTS[name], tmp_path, postgres_url)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in MUTANTS if name not in EVERYDAY])
def test_every_mutant_is_caught(name: str, tmp_path: Path, postgres_url: str) -> None:
    assert _is_caught(MUTANTS[name], tmp_path, postgres_url)


@pytest.mark.long
def test_what_is_sound_is_not_caught(tmp_path: Path, postgres_url: str) -> None:
    sound = Mutant("programs/leases.py", "def check(", "def check(")
    assert not _is_caught(sound, tmp_path, postgres_url)
