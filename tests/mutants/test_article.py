"""The mistakes of the usual checkpoint code, made in ours one by one: each must be caught.

They are those that the literature on checkpoints makes without a word: caches that remember "not
processed", keys joined with a colon, effects that are committed before the fact, locks without an
expiry. Each is one line of ours spoilt, and the quick tests that must fail on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutants.spoilt import Mutant, is_caught

pytestmark = pytest.mark.proof

CONFORMANCE = "conformance/test_conformance.py"
LEASES = "sql/queries/leases.sql"
WRITER = "capabilities/test_writer.py"
OPERATIONS = "sql/queries/operations.sql"
OUTBOX = "sql/queries/outbox.sql"


class Mistake(NamedTuple):
    """A mutant, and which tests see it: a file or folder of tests, and what -k picks there."""

    mutant: Mutant
    tests: str
    only: str


RECOVERY = "capabilities/test_recovery.py"

MISTAKES = {
    "a cache that remembers what is not processed": Mistake(
        Mutant(
            "_sync/checks.py",
            "return self._flights.take(same, lambda: self._read(key, wanted, claims, stands))",
            "found = self._read(key, wanted, claims, stands)\n"
            "        return self.__dict__.setdefault(str(wanted), found)",
        ),
        "capabilities/test_cache.py",
        "one_process_commits and sync-file",
    ),
    "a cached fact that outlives a rewind": Mistake(
        Mutant(
            "programs/facts.py", "claims if claims and claimed_at == stands else {}", "claims or {}"
        ),
        "capabilities/test_cache.py",
        "rewind and sync-file",
    ),
    "a cached fact that outlives a restore": Mistake(
        Mutant("programs/facts.py", "if proof in proven}", "if proof}"),
        "capabilities/test_cache.py",
        "dropped_segment and sync-file",
    ),
    "no version of the processor in the identity": Mistake(
        Mutant("programs/pages.py", "if row.processor == stream.processor:", "if True:"),
        "capabilities/test_processor.py",
        "over_everything_again and sync-file",
    ),
    "the last arrival wins": Mistake(
        Mutant("revisions.py", 'return "older"', 'return "newer"'),
        "capabilities/test_revisions.py",
        "slow_old_fetch and sync-file",
    ),
    "keys joined with a colon": Mistake(
        Mutant("keys.py", 'len(part).to_bytes(2, "big") + part', 'part + b":"', "def encode("),
        "unit/test_keys.py",
        "not nothing",
    ),
    "the hash of what the serialiser wrote": Mistake(
        Mutant("fingerprint.py", "canonical(", "repr(", "def fingerprint("),
        "unit/test_fingerprint.py",
        "not agrees and not doubles and not lost and not fast",
    ),
    "check, then insert": Mistake(
        Mutant(OPERATIONS, "belaypin_operation.status = 'failed'", "1 = 1", "operation.claim"),
        CONFORMANCE,
        "test_sync and memory-operations",
    ),
    "the effect first, then completed in another commit": Mistake(
        Mutant(
            "_sync/once.py",
            "        self._work._run(operations.complete(claim, frame, self._result_ttl_us))\n",
            "        self._work._end()\n"
            "        with self._open_transaction() as other:\n"
            "            other.run(operations.complete(claim, frame, self._result_ttl_us))\n"
            "        return\n",
        ),
        "crash/test_interleavings.py",
        "every_order or crashes_drawn_at_random_on_sqlite",
    ),
    "a row found in progress is simply run again": Mistake(
        Mutant(OPERATIONS, "belaypin_operation.expires_us <= excluded.updated_us", "1 = 1"),
        CONFORMANCE,
        "test_sync and memory-operations",
    ),
    "a crash at the first attempt is never recovered": Mistake(
        Mutant(OPERATIONS, "belaypin_operation.expires_us <= excluded.updated_us", "1 = 0"),
        CONFORMANCE,
        "test_sync and memory-operations",
    ),
    "the same operation id with new content": Mistake(
        Mutant("programs/operations.py", "row.request != request:", "False:"),
        CONFORMANCE,
        "test_sync and memory-operations",
    ),
    "an unknown outcome of COMMIT counts as failure": Mistake(
        Mutant("_sync/commit.py", "for _ in range(_OUTCOME_LOOKS):", "for _ in range(0):"),
        "crash/test_commit_unknown.py",
        "not nothing",
    ),
    "an operation whose COMMIT has no answer counts as failed": Mistake(
        Mutant("_sync/once.py", "if not self._came_through(claim):", "if True:"),
        "crash/test_operations.py",
        "took_place",
    ),
    "a message that is given up by whoever comes": Mistake(
        Mutant(OUTBOX, "AND owner = :owner AND token = :token", "", "-- name: outbox.failed"),
        "capabilities/test_outbox.py",
        "fails_too_late and (memory-sync or sync-memory)",
    ),
    "one high-water mark": Mistake(
        Mutant("programs/coverage.py", "if end < until_us\n", "if False\n", "def plan("),
        CONFORMANCE,
        "test_sync and (memory-windows or memory-live)",
    ),
    "the window ends at the worker's clock": Mistake(
        Mutant("programs/pages.py", "if not (self.is_head and self.caps_at_newest):", "if True:"),
        CONFORMANCE,
        "test_sync and memory-windows",
    ),
    "counters that move only with the watermark": Mistake(
        Mutant(
            "programs/courses.py",
            "self._window.carried = self._after, carried",
            "self._window.carried = self._after, Counts()",
        ),
        "capabilities/test_counts.py",
        "memory-sync or sync-memory",
    ),
    "a migrated state that is saved without comparing versions": Mistake(
        Mutant("sql/queries/states.sql", "version = :version", "1 = 1", "state.save"),
        "capabilities/test_components.py",
        "file-sync or sync-file",
    ),
    "newer data that is read as if it were old": Mistake(
        Mutant("programs/checkpoints.py", "if row.schema_version > schema_version:", "if False:"),
        "capabilities/test_evolution.py",
        "file-sync or sync-file",
    ),
    "a lock whose expiry is never honoured": Mistake(
        Mutant(
            LEASES, "belaypin_lease.expires_us <= excluded.acquired_us", "1 = 0", "lease.acquire"
        ),
        CONFORMANCE,
        "test_sync and memory-leases",
    ),
    "a release that is nobody's in particular": Mistake(
        Mutant(LEASES, "AND owner = :owner AND token = :token", "", "-- name: lease.release"),
        CONFORMANCE,
        "test_sync and (memory-leases or memory-fencing)",
    ),
    "no renewal": Mistake(
        Mutant("heartbeat.py", "held = tx.run(beat.renew())", "held = True"),
        CONFORMANCE,
        "test_sync and memory-leases",
    ),
    "no fencing": Mistake(
        Mutant(
            "sql/queries/ledger.sql",
            "l.owner = :owner AND l.token = :token",
            "1 = 1",
            "stream.lock",
        ),
        CONFORMANCE,
        "test_sync and memory-fencing",
    ),
    "any error of the database means locked": Mistake(
        Mutant(
            "backends/sqlite.py",
            "kind, advice = _ADVICE.get(code, (SqlError,",
            "kind, advice = {}.get(code, (StoreBusy,",
        ),
        CONFORMANCE,
        "test_sync and (memory-pages or memory-errors)",
    ),
    "work that was begun starts from the beginning": Mistake(
        Mutant(
            "programs/pages.py",
            "return stored if is_open or stored.end_us <= until_us else None",
            "return None",
        ),
        CONFORMANCE,
        "test_sync and memory-windows",
    ),
    "a record without a checksum": Mistake(
        Mutant(
            "codec.py",
            "if _checksum(header, payload) != frame[_HEADER.size : FRAME_OVERHEAD_BYTES]:",
            "if False:",
        ),
        "unit/test_codec.py",
        "not nothing",
    ),
    "decompression without a bound": Mistake(
        Mutant("codec.py", "if raw_bytes > max_raw_bytes:", "if False:"),
        "unit/test_codec.py",
        "not nothing",
    ),
    "the batch that drops one too many": Mistake(
        Mutant(
            "writing/core.py",
            "            self._batch[line.popleft()] = None\n",
            "            taken = line.popleft()\n"
            "            if len(self._batch) + 1 < self._batch_items:\n"
            "                self._batch[taken] = None\n"
            "            else:\n"
            "                break\n",
        ),
        WRITER,
        "101st and sync-memory-async",
    ),
    "acknowledged when it is queued": Mistake(
        Mutant(
            "_sync/writer.py",
            "return self._returned(entry)\n",
            "return None\n",
        ),
        WRITER,
        "sync_returns and sync-memory",
    ),
    "queued again behind newer ones": Mistake(
        Mutant(
            "writing/core.py",
            "entries = self._still_wanted(entries)\n",
            "self._waiting.extend(entries)\n"
            "                self._batch.clear()\n"
            "                return\n",
        ),
        WRITER,
        "older_state and sync-memory",
    ),
    "a batch whose COMMIT went unanswered is saved again": Mistake(
        Mutant("writing/core.py", "if written is None or not self._came_through", "if True or"),
        WRITER,
        "saved_once and sync-memory",
    ),
    "the error goes through the session that it broke": Mistake(
        Mutant(
            "_sync/once.py",
            "        self._work._end(error)\n        self._fail",
            "        self._fail",
        ),
        "capabilities/test_operations.py",
        "session_that_it_broke and (memory-sync or sync-memory)",
    ),
    "what is done is purged whatever its age": Mistake(
        Mutant(
            "sql/queries/retention.sql",
            "generation = :generation AND newest_us < :horizon_us",
            "generation = :generation AND newest_us <> :horizon_us",
        ),
        "capabilities/test_horizon.py",
        "gc_forgets_what_is_below_it and (memory-sync or sync-memory)",
    ),
    "efficiency is what was skipped": Mistake(
        Mutant("records/health.py", "return processed / seen", "return self.skipped / seen"),
        "upkeep/test_health.py",
        "not nothing",
    ),
    "recovery sorts ascending": Mistake(
        Mutant("records/plan.py", "-self.priority", "self.priority"),
        RECOVERY,
        "higher_priority and memory",
    ),
    "every worker runs every step": Mistake(
        Mutant(LEASES, "OR belaypin_lease.token = :only_after", "OR :only_after = :only_after"),
        RECOVERY,
        "somebody_has_done_since and memory",
    ),
    "recovery swallows errors": Mistake(
        Mutant(
            "_async/recovering.py", "            outcome = _failed(step, error)", "            pass"
        ),
        RECOVERY,
        "error_of_one_step and memory",
    ),
    "restarted from the beginning": Mistake(
        Mutant("_async/lease.py", "if begun is not None:", "if False:"),
        RECOVERY,
        "however_early and memory",
    ),
    "whoever comes further counts as stuck": Mistake(
        Mutant("sql/queries/runs.sql", "THEN idle_attempts + 1 ELSE 1 END", "THEN 9 ELSE 9 END"),
        RECOVERY,
        "deaths_count_only and memory",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught(name: str, tmp_path: Path, postgres_url: str) -> None:
    mutant, tests, only = MISTAKES[name]
    assert is_caught(mutant, tests, only, tmp_path, postgres_url)
