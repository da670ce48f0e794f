# Generated from src/belaypin/_async/evolution.py by tools/generate_sync.py; do not edit.
"""Bulk schema evolution: step by step through the states of one kind, beside live workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from belaypin._sync.work import OpenTransaction
from belaypin.program import Program
from belaypin.programs import evolution
from belaypin.programs.evolution import Kind, Stored, Tally, Upcast
from belaypin.records.checkpoints import UpcastReport

__all__ = ["Evolution"]

T = TypeVar("T")

_TRIES = 10
_KEPT_CHANGING = (
    "live workers kept saving it while it was upcast. It was not changed. Run this again; or its "
    "worker stores it in the new shape, once it runs the new code."
)


class Evolution:
    """One run over the states of a kind; each batch is a transaction of its own."""

    def __init__(
        self,
        open_transaction: OpenTransaction,
        pipeline: str,
        stream: str,
        batch: int,
        history: int,
    ) -> None:
        self.kind = Kind(pipeline, stream)
        self._open_transaction = open_transaction
        self._batch = batch
        self._history = history

    def upcast(self, tally: Tally, after_entity: str, limit: int | None) -> UpcastReport:
        """Upcast what is older, up to ``limit`` states looked at."""
        left = limit
        while left is None or left > 0:
            rows = self._batch if left is None else min(self._batch, left)
            reading = evolution.batch(self.kind, after_entity, tally.schema_version, rows)
            stored = self._run(reading, write=False)
            upcasts = [upcast for each in stored if (upcast := tally.take(each)) is not None]
            for upcast in upcasts if tally.dry_run else self._replaced(tally, upcasts):
                tally.done(upcast)
            if len(stored) < rows:
                return tally.report(None)
            after_entity = stored[-1].entity
            left = None if left is None else left - rows
        return tally.report(after_entity)

    def confirm(self, schema_version: int) -> int:
        """Drop the originals of states that have reached the schema."""
        dropped, after_id = 0, 0
        while True:
            step = evolution.confirm(self.kind, schema_version, after_id, self._batch)
            last_id, count = self._run(step)
            if last_id is None:
                return dropped
            dropped, after_id = dropped + count, last_id

    def _replaced(self, tally: Tally, upcasts: Sequence[Upcast]) -> list[Upcast]:
        if not upcasts:
            return []
        done = self._run(evolution.replace(upcasts, self._history))
        replaced = {upcast.stored.key_id for upcast in done}
        for upcast in upcasts:
            if upcast.stored.key_id not in replaced:
                done += self._again(tally, upcast.stored)
        return done

    def _again(self, tally: Tally, stored: Stored) -> list[Upcast]:
        """A worker saved the state while it was upcast: take what is there now."""
        for _ in range(_TRIES):
            now = self._run(evolution.stored_at(self.kind.key(stored.entity)), write=False)
            upcast = tally.take(now) if now is not None else None
            if upcast is None:
                return []
            if done := self._run(evolution.replace([upcast], self._history)):
                return done
        tally.failed(stored, _KEPT_CHANGING)
        return []

    def _run(self, program: Program[T], *, write: bool = True) -> T:
        with self._open_transaction(write=write) as transaction:
            return transaction.run(program)
