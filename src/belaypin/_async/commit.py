"""The commit of a page: user's rows, ledger, cursor and coverage, in one fenced transaction."""

from __future__ import annotations

import asyncio  # sync: from belaypin.clock import sleep_s
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from belaypin._async.joined import AsyncJoined
from belaypin._async.tenure import AsyncTenure
from belaypin._async.work import AsyncWork
from belaypin.backends.base import AsyncTransaction
from belaypin.clock import unique_id
from belaypin.errors import StoreBusy, StoreUnavailable, VersionConflict
from belaypin.fields import as_sequence
from belaypin.fingerprint import item_fingerprinter
from belaypin.ids import extract_ids
from belaypin.programs import components, pages
from belaypin.programs.components import Change
from belaypin.programs.courses import Course
from belaypin.programs.pages import Advance, Counts, Stream
from belaypin.programs.selection import Selection

__all__ = ["AsyncCommit"]

_OUTCOME_LOOKS = 5
_OUTCOME_PAUSE_S = 0.5


class _NothingToCommit(Exception):
    """Undoes a transaction in which nothing was written: cheaper than to commit it."""


class AsyncCommit(AsyncWork):
    """``tx``: one transaction for the rows that you write and all that belaypin keeps about them.

    Nothing is written before the first statement or fresh item, nothing is kept if the block ends
    with an exception, and all of it is durable once the block has ended without one.
    """

    def __init__(
        self,
        tenure: AsyncTenure,
        stream: Stream,
        course: Course,
        joined: AsyncJoined | None = None,
    ) -> None:
        super().__init__(tenure.open_transaction if joined is None else joined._open)
        self._fence = tenure.fence()
        self._components = tenure.components
        self._stream = stream
        self._course = course
        self._is_joined = joined is not None
        self._now_us = 0
        self._selection = Selection(stream.key, course.event_us, course.late_before_us)

    async def fresh(
        self,
        items: Sequence[Any],
        *,
        key: str | Callable[[Any], Any],
        content: Sequence[str] | Callable[[Any], Any] | None = None,
    ) -> list[Any]:
        """The items that were never committed to this stream, in input order and each once.

        ``key`` is the field (or dotted path, or callable) with an item's id: text, an integer, a
        UUID, or a tuple of those. With ``content``, the fields (or a callable) that make up an
        item's content, items whose content differs from what was committed are returned too; see
        ``kind``. Every item returned counts as committed once the block has ended.

        Raises UsageError if an item has no such field or its id can't be one.
        """
        batch = as_sequence(items)
        ids = extract_ids(batch, key)
        prints = list(map(item_fingerprinter(content), batch)) if content is not None else None
        picking, membership = self._selection, self._stream.membership
        unknown = picking.unknown(membership, ids)
        if unknown or self._stream.row is None or prints is not None:
            # Only under the stream's lock is it certain that nobody else has committed them, or
            # committed them with other content since.
            await self._begun()
            if not membership.is_exact(ids):
                await self._run(pages.resolve(self._stream, ids, with_content=prints is not None))
                unknown = picking.unknown(membership, ids)
        return picking.pick(membership, batch, ids, prints, unknown)

    def kind(self, item: Any) -> str:
        """Of an item that ``fresh`` returned: "new", or "changed" since it was committed."""
        return self._selection.kind(item)

    def idempotency_key(self, item: Any) -> str:
        """Of an item that ``fresh`` returned: a text that is the same on every attempt.

        Send it along with effects outside the database, which happen at least once: a sink that
        remembers the keys it has applied makes them happen exactly once.
        """
        return self._selection.idempotency_key(item)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            try:
                await self._end(error)
            finally:
                self._stream.ended(durable=False)
                self._components.undo(error)
            return
        counts = Counts(*map(sum, zip(self._course.carried, self._selection.counts, strict=True)))
        try:
            changes = self._components.changes()
            if self._adds_nothing(changes) and self._course.can_wait():
                await self._end(_NothingToCommit())
                self._stream.ended(durable=False)
                self._course.left(counts)
                return
            await self._commit(counts, changes)
        except BaseException as failure:
            try:
                await self._end(failure)
            finally:
                self._stream.reset()
                self._components.undo(failure)
            raise
        self._components.saved(changes)

    def _adds_nothing(self, changes: list[Change]) -> bool:
        return not (self._is_used or self._selection.entries or changes)

    async def _guard(self, transaction: AsyncTransaction) -> None:
        row = await transaction.run(pages.begin(self._fence, self._stream))
        self._now_us = row.now_us
        if row.open_windows().get(self._fence.role) != self._course.stored:
            raise VersionConflict(
                f"The window of {self._stream.key} (role {self._fence.role}) is not where this "
                f"worker left it: a transaction that an earlier page had joined was rolled "
                f"back, or the stream was changed by hand. Nothing was written. Ask for windows() again."
            )

    async def _commit(self, counts: Counts, changes: list[Change]) -> None:
        try:
            await self._begun()
            window, cover_us = self._course.after(self._now_us)
            advance = Advance(
                unique_id(), self._fence.role, window, cover_us, self._selection.entries, counts
            )
            appended = await self._run(pages.commit(self._fence, self._stream, advance))
            await self._run(components.save(changes, self._fence.token))
            await self._renew_if_long(self._fence)
        except BaseException as error:
            await self._end(error)
            raise
        try:
            await self._end()
        except (StoreUnavailable, StoreBusy):
            if self._is_joined or not await self._came_through(advance):
                raise
        self._course.done()
        if self._is_joined:
            self._stream.reset()  # not durable before the user's own commit, if that ever comes
        else:
            self._stream.ended(durable=True)
            appended.apply(self._stream.membership, self._selection.entries)

    async def _came_through(self, advance: Advance) -> bool:
        """Whether a COMMIT whose answer was lost took place, by what it would have written."""
        for _ in range(_OUTCOME_LOOKS):
            try:
                async with self._open_transaction() as transaction:
                    again = Stream(self._stream.key)
                    row = await transaction.run(pages.read(again))
            except (StoreUnavailable, StoreBusy):
                await asyncio.sleep(_OUTCOME_PAUSE_S)  # sync: sleep_s(_OUTCOME_PAUSE_S)
                continue
            stands = row.open_windows().get(self._fence.role)
            return row.commit_id == advance.commit_id or (
                stands == advance.window and stands != self._course.stored
            )
        return False
