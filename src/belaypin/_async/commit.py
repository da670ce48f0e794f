"""The commit of a page: user's rows, ledger, cursor and coverage, in one fenced transaction."""

from __future__ import annotations

import asyncio  # sync: from belaypin.clock import sleep_s
from collections.abc import Callable, Sequence
from itertools import repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from belaypin._async.tenure import AsyncTenure
from belaypin._async.trial import AsyncTrial
from belaypin._async.work import AsyncWork
from belaypin.backends.base import AsyncTransaction
from belaypin.backends.threads import in_thread  # sync: drop
from belaypin.clock import jitter, unique_id
from belaypin.errors import StoreBusy, StoreUnavailable, UsageError, VersionConflict
from belaypin.fields import as_sequence
from belaypin.fingerprint import item_fingerprinter
from belaypin.ids import ItemId, extract_ids
from belaypin.programs import components, failures, pages, suspects
from belaypin.programs.components import Change
from belaypin.programs.courses import Course
from belaypin.programs.failures import Failures
from belaypin.programs.pages import Advance, Counts, Stream, StreamRow
from belaypin.programs.participants import Participants
from belaypin.programs.selection import ANY_TIME, Horizon, Selection
from belaypin.records.failure import id_text
from belaypin.revisions import RevisionOf, marks
from belaypin.tracing import NO_SPAN, Span

if TYPE_CHECKING:
    from belaypin._async.joined import AsyncJoined

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
        parent: Span = NO_SPAN,
    ) -> None:
        super().__init__(tenure.open_transaction if joined is None else joined._open)
        self._fence = tenure.fence()
        self._components = tenure.components
        self._stream = stream
        self._course = course
        self._is_joined = joined is not None
        self._participants = Participants(tenure.epoch, self._fence, is_joined=self._is_joined)
        self._now_us = 0
        self._selection = Selection(
            stream.key, course.event_us, course.late_before_us, course.newest_of
        )
        self._failures = Failures(course.handling.retry, course.event_us)
        self._is_attempting = False
        self._parent = parent
        self._span = NO_SPAN
        self.failed: list[Any] = []
        """The items that failed in an ``attempt`` of this block, and were put aside."""

    async def fresh(
        self,
        items: Sequence[Any],
        *,
        key: str | Callable[[Any], Any],
        content: Sequence[str] | Callable[[Any], Any] | None = None,
        revision: RevisionOf | None = None,
    ) -> list[Any]:
        """The items that were never committed to this stream, in input order and each once.

        ``key`` is the field (or dotted path, or callable) with an item's id: text, an integer, a
        UUID, or a tuple of those. With ``content``, the fields (or a callable) that make up an
        item's content, items whose content differs from what was committed are returned too; see
        ``kind``. Every item returned counts as committed once the block has ended, unless its
        ``attempt`` failed. Items that failed before are left out until their time has come (or
        their content is another), quarantined ones until they are replayed.

        With ``revision``, the field (or a callable) with a number, an aware datetime or ISO 8601
        text that grows with each edit, items that are newer than what was committed are returned
        too, unless ``content`` is the same. Older ones are skipped and counted as stale: a slow
        fetch never overwrites a newer one.

        What is older than the stream's replay horizon (see ``windows``) is too late: counted, and
        not returned.

        Raises UsageError if an item has no such field, its id can't be one, or it has no event time
        on a stream with a horizon.
        """
        batch = as_sequence(items)
        ids = extract_ids(batch, key)
        prints = _prints(batch, content, revision)
        picking, membership = self._selection, self._stream.membership
        unknown = picking.unknown(membership, ids)
        is_retry, kills = bool(self._course.retried), 0
        if unknown or self._stream.row is None or prints is not None or is_retry:
            kills = await self._kills(ids)
            # Only under the stream's lock is it certain that nobody else has committed them, or
            # committed them with other content since.
            await self._begun()
            if not membership.is_exact(ids):
                await self._run(pages.resolve(self._stream, ids, with_content=prints is not None))
                unknown = picking.unknown(membership, ids)
        row = self._stream.row
        horizon = ANY_TIME if row is None else Horizon(row.horizon_us)
        if row is None or not (row.failures or self._failures.put_aside or kills):
            return picking.pick(membership, batch, ids, prints, unknown, horizon=horizon)
        return await self._fresh_among_failures(row, batch, ids, prints, unknown, kills)

    def attempt(self, item: Any, *, payload: Any = None) -> AsyncTrial:
        """Process one item of ``fresh`` so that it may fail: ``with tx.attempt(item)``.

        If the block raises an exception that the policy covers (``retry=`` of ``windows`` or
        ``live``), what it wrote is undone, the exception is swallowed, and the item is put aside in
        this same commit: it comes back when its time has come. The other items go on.
        ``payload``: what shall come back in place of an item that is no plain JSON data.

        What the block does outside the database, or to an attached component, is not undone: do
        that last. Raises UsageError for an item that ``fresh`` did not return, inside another
        attempt, or if the item failed and can't be kept.
        """
        return AsyncTrial(
            lambda: self._begin_attempt(item), lambda error: self._end_attempt(item, payload, error)
        )

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
        self._span = self._parent.child("commit", self._stream.key, joined=self._is_joined)
        self._span.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._span.ending(error):
            if error is None:
                await self._finish()
            else:
                await self._give_up(error)

    async def _give_up(self, error: BaseException) -> None:
        try:
            await self._end(error)
        finally:
            self._stream.ended(durable=False)
            self._undo_outside(error)

    async def _finish(self) -> None:
        counts = Counts(*map(sum, zip(self._course.carried, self._selection.counts, strict=True)))
        self._span.note(
            new=counts.items,
            skipped=counts.skipped,
            changed=counts.changed,
            late=counts.late,
            failed=len(self.failed),
        )
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
                self._undo_outside(failure)
            raise
        self._components.saved(changes)
        for participant in self._participants:
            await in_thread(None, participant.publish)  # sync: participant.publish()

    def _undo_outside(self, error: BaseException) -> None:
        self._components.undo(error)
        self._participants.undo(error)

    def _adds_nothing(self, changes: list[Change]) -> bool:
        has_moved = self._selection.entries or self._failures or changes or self._participants
        return not (self._is_used or has_moved)

    async def _kills(self, ids: Sequence[Any]) -> int:
        """How many workers the item in hand has killed, if so many that it is to be put aside.

        Now that its id is known, that is what it is known by: its JSON may differ next time.
        """
        watch = self._course.handling.watch
        if watch is None or len(ids) != 1 or self._transaction is not None or self._is_joined:
            return 0
        name = id_text(ids[0])
        if not watch.is_unnamed(name):
            return 0
        if watch.is_killer(name):
            return watch.kills_of(name)
        watch.name(name)
        async with self._open_transaction() as transaction:
            await transaction.run(suspects.mark(self._fence, watch))
        return 0

    async def _begin_attempt(self, item: Any) -> AsyncTransaction:
        if self._is_attempting:
            raise UsageError(
                "An attempt of another item is open: attempts don't nest, as the outer one would "
                "undo what the inner one has done. End it first."
            )
        if not self._selection.is_picked(item):
            raise UsageError("This item has failed already in this commit, and is put aside.")
        transaction = await self._begun()
        self._is_attempting = True
        self._participants.hold()
        return transaction

    def _end_attempt(self, item: Any, payload: Any, error: BaseException | None) -> bool:
        """Whether the item is put aside because of ``error``."""
        self._is_attempting = False
        self._participants.settle(keep=error is None)
        if error is None or not self._course.handling.retry.covers(error):
            return False
        item_id, fingerprint = self._selection.entry(item)
        name, chance = id_text(item_id), jitter(0, 1)
        self._failures.add(name, error, fingerprint, item, payload, self._now_us, chance)
        self._selection.drop(item)
        self.failed.append(item)
        return True

    async def _fresh_among_failures(
        self,
        row: StreamRow,
        batch: Sequence[Any],
        ids: Sequence[ItemId],
        prints: list[bytes] | None,
        unknown: set[ItemId],
        kills: int,
    ) -> list[Any]:
        """``fresh`` where items of the stream are put aside, or one in hand has killed its workers."""
        picking = self._selection
        withheld = await self._withheld(row, batch, ids, prints)
        horizon = Horizon(row.horizon_us, self._failures.untried(ids, prints))
        picked = picking.pick(
            self._stream.membership, batch, ids, prints, unknown, withheld, horizon
        )
        self._failures.settle({*ids} - picking.entries.keys() - withheld - picking.too_late)
        if kills and picked:
            self._failures.add_killer(id_text(ids[0]), kills, batch[0], self._now_us)
            picking.drop(picked[0])
            return []
        return picked

    async def _withheld(
        self, row: StreamRow, items: Sequence[Any], ids: Sequence[Any], prints: Any
    ) -> set[Any]:
        """The items that stay put aside. The caller holds the stream's lock, if any are new."""
        known, retried = self._failures.standing, self._course.retried
        names = [id_text(item_id) for item_id in ids]
        stored = {retried.get(id(item), n): n for item, n in zip(items, names, strict=True)}
        if self._transaction is not None:
            found = await self._run(failures.among(row.key_id, row.generation, [*stored]))
            known.update((stored[standing.item_id], standing) for standing in found)
        contents = zip(items, prints or repeat(None), strict=False)
        return self._failures.withhold(dict(zip(ids, contents, strict=True)), self._now_us)

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
                unique_id(),
                self._fence.role,
                window,
                cover_us,
                self._selection.entries,
                counts,
                self._failures,
                self._selection.newest_us,
                self._course.horizon_us,
                self._course.live_us,
            )
            appended = await self._run(pages.commit(self._fence, self._stream, advance))
            await self._run(components.save(changes, self._fence.token))
            watch = self._course.handling.watch
            if watch is not None and watch.is_active:
                await self._run(suspects.calm(watch))
            await self._seal()
            await self._renew_if_long(self._fence)
        except BaseException as error:
            await self._end(error)
            raise
        self._participants.is_committing = True
        try:
            await self._end()
        except (StoreUnavailable, StoreBusy):
            if self._is_joined or not await self._came_through(advance):
                raise
        self._course.done()
        if watch is not None and watch.is_active:
            watch.moved()
        if self._is_joined:
            self._stream.reset()  # not durable before the user's own commit, if that ever comes
        else:
            self._stream.ended(durable=True)
            appended.apply(self._stream.membership, self._selection.entries)

    async def _seal(self) -> None:
        row = self._stream.row
        assert row is not None
        for participant in self._participants:
            await in_thread(None, participant.seal)  # sync: participant.seal()
            await self._run(participant.note(row))

    async def _came_through(self, advance: Advance) -> bool:
        """Whether a COMMIT whose answer was lost took place, by what it would have written."""
        for _ in range(_OUTCOME_LOOKS):
            try:
                async with self._open_transaction() as transaction:
                    again = Stream(self._stream.key, processor=self._stream.processor)
                    row = await transaction.run(pages.read(again))
            except (StoreUnavailable, StoreBusy):
                await asyncio.sleep(_OUTCOME_PAUSE_S)  # sync: sleep_s(_OUTCOME_PAUSE_S)
                continue
            stands = row.open_windows().get(self._fence.role)
            return row.commit_id == advance.commit_id or (
                stands == advance.window and stands != self._course.stored
            )
        return False


def _prints(
    batch: Sequence[Any],
    content: Sequence[str] | Callable[[Any], Any] | None,
    revision: RevisionOf | None,
) -> list[bytes] | None:
    """What tells one content of an item from another; None: the id alone counts."""
    if revision is not None:
        return marks(batch, revision, content)
    return None if content is None else list(map(item_fingerprinter(content), batch))
