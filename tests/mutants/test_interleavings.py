"""Do the interleaving tests see anything? Each mutant is a mistake; each must be caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.spoilt import Mutant, is_caught

pytestmark = pytest.mark.proof

TESTS = "crash/test_interleavings.py"
QUICK = "every_order or crashes_drawn_at_random_on_sqlite"
LEASES = "sql/queries/leases.sql"


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
        "programs/ledger.py", "for seq, payload in taken), *stored]", "for _ in ()), *stored]"
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
    return is_caught(mutant, TESTS, QUICK, folder, postgres_url)


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
