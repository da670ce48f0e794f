# Generated from src/belaypin/_async/live.py by tools/generate_sync.py; do not edit.
"""Live events: batches that commit like pages and cover the time while we listened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Self

from belaypin._sync.commit import Commit
from belaypin._sync.tenure import Tenure
from belaypin.errors import NotCommitted, UsageError
from belaypin.programs import pages
from belaypin.programs.courses import BatchCourse, Handling, LiveCourse
from belaypin.programs.pages import Stream
from belaypin.retry import Retry
from belaypin.times import At

if TYPE_CHECKING:
    from belaypin._sync.joined import Joined

__all__ = ["Batch", "Live"]


class Live(AbstractContextManager["Live"]):
    """Listening to a stream. Each commit covers the time from connecting until that commit.

    If the connection breaks, if a batch is not committed, or if we die, the time until the next
    commit stays a gap, for ``windows`` to fetch.
    """

    def __init__(
        self,
        tenure: Tenure,
        stream: Stream,
        at: At,
        settle_us: int,
        retry: Retry,
    ) -> None:
        self._tenure = tenure
        self._stream = stream
        self._at = at
        self._settle_us = settle_us
        self._retry = retry
        self._course: LiveCourse | None = None

    def __enter__(self) -> Self:
        fence = self._tenure.fence()
        try:
            with self._tenure.open_transaction() as transaction:
                row = transaction.run(pages.begin(fence, self._stream))
        except BaseException:
            self._stream.ended(durable=False)
            raise
        self._stream.ended(durable=True)
        # An open window of this role stays open: its cursor is for windows() to go on from.
        stored = row.open_windows().get(fence.role)
        self._course = LiveCourse(
            self._stream.key, self._at, self._settle_us, stored, row.now_us, Handling(self._retry)
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._course = None

    def batch(self, items: Sequence[Any]) -> Batch:
        """Events that came together, to be committed like a page."""
        if self._course is None:
            raise UsageError("Not listening: use `with lease.live(...) as live`.")
        return Batch(self._tenure, self._stream, self._course.batch(), list(items))

    def batches(self, source: Iterable[Sequence[Any]]) -> Iterator[Batch]:
        """Each list of events that ``source`` yields, as a batch; an empty one is a heartbeat.

        Raises NotCommitted if a batch with events was not committed when the next one is due.
        """
        for items in _each(source):
            if not items:
                self.heartbeat()
                continue
            batch = self.batch(items)
            yield batch
            if not batch.is_committed:
                raise NotCommitted(
                    f"A batch of {len(batch.items)} live events was not committed. Commit every "
                    f"batch; those that were not are left to a gap that windows() will fetch."
                )

    def heartbeat(self) -> None:
        """The source is alive and had nothing new: cover the time until now."""
        with self.batch([]).commit():
            pass


class Batch:
    """Events that came together. Commit them like a page."""

    def __init__(
        self,
        tenure: Tenure,
        stream: Stream,
        course: BatchCourse,
        items: list[Any],
    ) -> None:
        self.items = items
        self._tenure = tenure
        self._stream = stream
        self._course = course

    @property
    def is_committed(self) -> bool:
        """Whether this batch's commit has succeeded."""
        return self._course.is_committed

    def commit(self, joined: Joined | None = None) -> Commit:
        """The transaction that commits these events: ``with batch.commit() as tx``.

        ``joined`` is as in ``page.commit``. Raises NotCommitted if they were committed before.
        """
        self._course.check()
        span = self._tenure.trace.span
        return Commit(self._tenure, self._stream, self._course, joined, span)


def _each(source: Any) -> Iterator[Any]:
    for items in source:
        yield items
