# Generated from src/belaypin/_async/checkup.py by tools/generate_sync.py; do not edit.
"""Checkup: is the store sound, is it well, and what became of one item; nothing here writes.

What does the work is imported with the first call: most workers never make one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from belaypin._sync.records import KeyLike
from belaypin.errors import UsageError
from belaypin.fingerprint import fingerprint
from belaypin.ids import check_new_ids, extract_ids
from belaypin.keys import Key
from belaypin.program import Program

if TYPE_CHECKING:
    from belaypin.records.explanation import Explanation
    from belaypin.records.health import Health
    from belaypin.records.reports import Report

__all__ = ["Checkup"]

T = TypeVar("T")


class Checkup(ABC):
    """What keeps a store in order, read in small transactions beside live workers."""

    @abstractmethod
    def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    def verify(self, *, pipeline: str | None = None, entity: str | None = None) -> Report:
        """Read every record and check it, by itself and against the others; change nothing.

        Safe beside live workers: it reads in small transactions, and counts a stream again that
        was moved on meanwhile. With ``pipeline`` (and ``entity``) only the keys of those are read,
        and neither operations, messages nor records that belong to no key.
        """
        from belaypin._sync.upkeep import verify

        return verify(self, pipeline, entity)

    def health(self, *, pipeline: str | None = None) -> Health:
        """How the store stands: lag, efficiency, orphans, recovery, storage.

        With ``pipeline``, of that one only, and without operations, which belong to no pipeline.
        It visits each row once, but no payload; on SQLite without WAL part by part, so that writers
        go on meanwhile.
        """
        from belaypin.programs import health

        if pipeline is not None:
            Key(pipeline)
        return self._run(health.read(pipeline), write=False)

    def explain(
        self, key: KeyLike, item_id: Any = None, *, content: Any = None, ignore: Iterable[str] = ()
    ) -> Explanation:
        """Why an item of the stream at ``key`` was processed or skipped, and what it would be now.

        Without ``item_id``: the same for the document at ``key`` that ``lease.changed`` compares;
        with its ``content`` (and what to ``ignore``), whether that would be processed. ``str`` of
        the answer is a sentence. CorruptRecord if the item's segment is damaged.
        """
        from belaypin.programs import explanation

        key = Key.of(key)
        if item_id is None:
            given = None if content is None else fingerprint(content, ignore=ignore)
            return self._run(explanation.of_document(key, given), write=False)
        if content is not None:
            raise UsageError("content= is for documents: leave out item_id, or content.")
        ids = extract_ids([item_id], lambda value: value)
        check_new_ids(ids)
        return self._run(explanation.of_item(key, ids[0]), write=False)
