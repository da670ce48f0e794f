# Generated from src/belaypin/_async/upkeep.py by tools/generate_sync.py; do not edit.
"""Upkeep: is the store sound? Every record is read, in small transactions; nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs import dictionaries, disposal, inspection, operations, outbox, upkeep
from belaypin.programs.recount import Recount
from belaypin.programs.scope import Scope
from belaypin.programs.upkeep import INLINE_BYTES, KeyPage, KeyRow, LedgerPage, OperationRow
from belaypin.records.reports import Finding, Report
from belaypin.times import from_us

if TYPE_CHECKING:
    from belaypin._sync.checkup import Checkup

__all__ = ["verify"]

T = TypeVar("T")

_TRIES = 3
_MAX_FINDINGS = 10_000
_PAGE_ORPHANS = 200


def verify(store: Checkup, pipeline: str | None, entity: str | None) -> Report:
    """Read every record of the pipeline (and entity, or all) and check it; see ``store.verify``."""
    if entity is not None and pipeline is None:
        raise UsageError("An entity belongs to a pipeline: verify(pipeline=..., entity=...).")
    if pipeline is not None:
        Key(pipeline, entity or "")
    now_us = store._run(_now(), write=False)
    verification = _Verification(store, now_us, pipeline, entity)
    verification.keys(Scope.of(pipeline, entity))
    verification.failures(Scope.of(pipeline, entity))
    if pipeline is None:
        verification.operations()
        verification.messages()
        verification.dictionaries()
        verification.orphans()
    return verification.report()


class _Verification:
    """One run of ``verify``: what it has read and found so far."""

    def __init__(
        self, store: Checkup, now_us: int, pipeline: str | None, entity: str | None
    ) -> None:
        self._store = store
        self._begun = Report(from_us(now_us), pipeline, entity)
        self._counts = dict.fromkeys(("keys", "segments", "items"), 0)
        self._counts |= dict.fromkeys(("intervals", "leases", "operations"), 0)
        self._findings: list[Finding] = []
        self._unlisted = 0
        self._unsettled: list[Key] = []

    def report(self) -> Report:
        return msgspec.structs.replace(
            self._begun,
            **self._counts,
            findings=tuple(self._findings),
            unlisted=self._unlisted,
            unsettled=tuple(self._unsettled),
        )

    def keys(self, scope: Scope | None) -> None:
        """Every key of the scope, its coverage, its leases and its ledger."""
        while scope is not None:
            page, scope = self._run(upkeep.key_page(scope))
            self._check_page(page)
            self._history(page)
            for row in page.keys:
                self._state(row)
                if row.last_seq is not None:
                    self._ledger(row, page.short_ledgers.get(row.key_id))

    def failures(self, scope: Scope) -> None:
        """Every item of the scope that was put aside."""
        after = 0
        while page := self._run(disposal.page(scope, after)):
            for row in page:
                self._add(inspection.check_failure(row))
            after = page[-1].failure_id

    def operations(self) -> None:
        """Every operation and its result."""
        after = ""
        while page := self._run(upkeep.operation_page(after)):
            self._counts["operations"] += len(page)
            for row in page:
                self._add(inspection.check_operation(row))
                self._result(row)
            after = page[-1].operation_id
        after = ""
        while lost := self._run(operations.orphan_attempts(after, _PAGE_ORPHANS)):
            self._add(inspection.check_attempts(*each) for each in lost)
            after = lost[-1][0]

    def messages(self) -> None:
        """Every message of the outbox."""
        after = -1
        while page := self._run(outbox.page(after)):
            for row in page:
                self._add(inspection.check_message(row))
            after = page[-1].message_id

    def dictionaries(self) -> None:
        """Every trained dictionary; states that need one which is gone are found with their key."""
        after = -1
        while page := self._run(dictionaries.listed(after)):
            for dictionary_id in page:
                damage = self._run(dictionaries.check(dictionary_id))
                self._add(inspection.check_dictionary(dictionary_id, damage))
            after = page[-1]

    def orphans(self) -> None:
        """Every record that belongs to no key."""
        after: int | None = -(2**63)
        while after is not None:
            found, after = self._run(upkeep.orphan_page(after))
            self._add(map(inspection.check_orphans, found))

    def _check_page(self, page: KeyPage) -> None:
        self._counts["keys"] += len(page.keys)
        self._counts["intervals"] += len(page.coverage)
        self._counts["leases"] += len(page.leases)
        coverage: dict[int, list[upkeep.CoverageRow]] = {}
        for interval in page.coverage:
            coverage.setdefault(interval.key_id, []).append(interval)
        by_id = {row.key_id: row for row in page.keys}
        for row in page.keys:
            self._add(inspection.check_key(row))
            if row.key_id in coverage:
                key, intervals = inspection.readable_key(row.name), coverage[row.key_id]
                self._add(inspection.check_coverage(intervals, key, row.generation))
        for lease in page.leases:
            key = inspection.readable_key(by_id[lease.key_id].name)
            self._add(inspection.check_lease(lease, key))

    def _history(self, page: KeyPage) -> None:
        names = {row.key_id: row.name for row in page.keys}
        for row in page.history:
            framed = row.small_state
            if framed is None:
                framed = self._run(upkeep.kept_state(row))
            if framed is not None:
                key = inspection.readable_key(names[row.key_id])
                self._add(inspection.check_kept(framed, row, key))

    def _state(self, row: KeyRow) -> None:
        framed = row.small_state
        if row.state_bytes is not None and row.state_bytes > INLINE_BYTES:
            framed = self._run(upkeep.state(row.key_id))
        if framed is not None:
            self._add(inspection.check_state(framed, row))

    def _result(self, row: OperationRow) -> None:
        framed = row.small_result
        if row.result_bytes is not None and row.result_bytes > INLINE_BYTES:
            framed = self._run(upkeep.result(row.operation_id))
        if framed is not None:
            self._add(inspection.check_result(framed, row))

    def _ledger(self, row: KeyRow, short: LedgerPage | None) -> None:
        key = inspection.readable_key(row.name)
        recount = Recount(key, row.key_id)
        if short is not None:
            recount.take(short)
        for _ in range(_TRIES if short is None else 0):
            recount = Recount(key, row.key_id)
            self._recount(recount, row.key_id)
            if not recount.has_moved:
                break
        self._counts["segments"] += recount.segments
        self._counts["items"] += recount.items
        if not recount.has_moved:
            self._add(recount.findings())
            return
        self._add(recount.by_itself)
        if key is not None:
            self._unsettled.append(key)

    def _recount(self, recount: Recount, key_id: int) -> None:
        is_last = False
        while not (is_last or recount.has_moved):
            page = self._run(upkeep.ledger_page(key_id, recount.last_seq))
            recount.take(page)
            is_last = page.is_last
        for part in recount.passes():
            for seq in part.seqs:
                if recount.has_moved:
                    return
                again = self._run(upkeep.ledger_page(key_id, seq - 1, only_one=True))
                recount.take_again(part, again)
            recount.end_pass()

    def _add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if len(self._findings) < _MAX_FINDINGS:
                self._findings.append(finding)
            else:
                self._unlisted += 1

    def _run(self, program: Program[T]) -> T:
        return self._store._run(program, write=False)


def _now() -> Program[int]:
    rows = yield Statement("clock.now")
    now_us: int = rows[0][0]
    return now_us
