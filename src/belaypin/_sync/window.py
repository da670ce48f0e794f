# Generated from src/belaypin/_async/window.py by tools/generate_sync.py; do not edit.
"""Windows and their pages: which range of event time to process next, and where in it we stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from belaypin._sync.commit import Commit
from belaypin._sync.isolation import Isolation
from belaypin._sync.resolve import resolved
from belaypin._sync.tenure import Tenure
from belaypin.errors import CorruptRecord, NotCommitted
from belaypin.fetched import read_fetched
from belaypin.programs import failures, pages
from belaypin.programs.courses import PageCourse, RetryCourse, WindowCourse
from belaypin.programs.failures import Due
from belaypin.programs.pages import Stream, StreamRow
from belaypin.records.failure import load_item
from belaypin.times import from_us
from belaypin.tracing import NO_SPAN, Span

if TYPE_CHECKING:
    from belaypin._sync.joined import Joined

__all__ = ["Fetch", "Page", "RetryWindow", "Window"]

Fetch = Callable[[Any], Any]


class Window:
    """A range of event time [start, end) to process, page by page."""

    is_retry = False
    """Whether its pages are items that failed, and come from the store instead of from fetch."""

    def __init__(
        self,
        tenure: Tenure,
        stream: Stream,
        course: WindowCourse,
    ) -> None:
        self._tenure = tenure
        self._stream = stream
        self._course = course
        self._span = NO_SPAN
        self.resumed = course.stored == course.window
        """Whether an earlier worker had begun this window: then it goes on from ``cursor``."""

    @property
    def start(self) -> datetime:
        """The first moment of the window, aware, UTC; the overlap that is read again included."""
        return from_us(self._course.window.start_us)

    @property
    def end(self) -> datetime:
        """The first moment after the window, aware, UTC."""
        return from_us(self._course.window.end_us)

    @property
    def cursor(self) -> Any:
        """Where the next fetch goes on; None at the window's beginning."""
        return self._course.window.cursor

    def __repr__(self) -> str:
        return f"<Window of {self._stream.key}: {self.start} to {self.end}, cursor {self.cursor!r}>"

    def pages(
        self, fetch: Fetch, *, items: str | None = None, cursor: str | None = None
    ) -> Iterator[Page]:
        """Fetch page after page until the window is done; commit each one before the next.

        ``fetch(cursor)`` returns ``(items, next_cursor)``: the first cursor is None (or where an
        earlier worker stood), a next cursor of None ends the window. Cursors are JSON values and
        come back as such. With ``items`` (and ``cursor``), dotted paths like "data.items", fetch
        returns a JSON document or a response that has ``.json()`` instead.

        Raises FetchError if fetch returns anything else, and NotCommitted if a page with items
        was not committed when the next one is asked for.
        """
        isolation = Isolation(self._tenure, self._stream, self._course)
        is_last = False
        while not is_last:
            with self._span.child("page", self._stream.key) as span:
                with span.current():
                    returned = resolved(fetch(self.cursor))
                fetched = read_fetched(returned, self.cursor, items, cursor)
                is_last = fetched.next_cursor is None
                span.note(items=len(fetched.items), is_last=is_last)
                for part, is_whole in isolation.parts(fetched.items, {}):
                    course = self._course.page(part, fetched.next_cursor, is_part=not is_whole)
                    page = Page(self._tenure, self._stream, course, part, span)
                    yield page
                    if not page.is_committed:
                        self._pass_over(page)

    def _traced(self, parent: Span) -> Span:
        """Begin the window's span, beneath the lease's."""
        self._span = parent.child(
            "window",
            self._stream.key,
            start=self.start.isoformat(),
            end=self.end.isoformat(),
            resumed=self.resumed,
            is_retry=self.is_retry,
        )
        return self._span

    def _pass_over(self, page: Page) -> None:
        if page.items:
            raise NotCommitted(
                f"A page of {len(page.items)} items of {self._stream.key} was not committed, and "
                f"the next one was asked for. Nothing is lost: commit every page (`with "
                f"page.commit() as tx`), or leave the loop to take it up again later."
            )
        with page.commit():
            pass


class RetryWindow(Window):
    """The items that failed and whose time has come, in pages of at most 200, oldest first.

    The loop is the same as for any window; ``fetch`` is not called. ``start`` and ``end`` are
    those of what ``windows`` was asked for.
    """

    is_retry = True

    def pages(
        self,
        fetch: Fetch,
        *,
        items: str | None = None,
        cursor: str | None = None,
    ) -> Iterator[Page]:
        """Hand out page after page of failed items; commit each one before the next.

        An item that fails again waits for a later call of ``windows``.
        """
        isolation = Isolation(self._tenure, self._stream, self._course)
        row = self._standing()
        due_us, after = row.now_us, 0
        while found := self._due(row, due_us, after):
            after = found[-1].failure_id
            loaded = [(each.item_id, item) for each, item in self._loaded(found)]
            retried = {id(item): item_id for item_id, item in loaded}
            together = [item for _, item in loaded]
            with self._span.child("page", self._stream.key, items=len(together)) as span:
                for part, _ in isolation.parts(together, retried):
                    course = self._course.retry_page(retried)
                    page = Page(self._tenure, self._stream, course, part, span)
                    yield page
                    if not page.is_committed:
                        self._pass_over(page)

    def _standing(self) -> StreamRow:
        with self._tenure.open_transaction(write=False) as transaction:
            return transaction.run(pages.read(self._stream))

    def _due(self, row: StreamRow, due_us: int, after: int) -> list[Due]:
        with self._tenure.open_transaction(write=False) as transaction:
            return transaction.run(failures.due(row.key_id, row.generation, due_us, after))

    def _loaded(self, found: list[Due]) -> Iterator[tuple[Due, Any]]:
        """Each row with its item. A payload that is damaged is a person's to look at."""
        for each in found:
            try:
                item = load_item(each.payload, f"the payload of failure {each.failure_id}")
            except CorruptRecord as error:
                with self._tenure.open_transaction() as transaction:
                    fence = self._tenure.fence()
                    transaction.run(failures.give_up(fence, each.failure_id, error))
                continue
            yield each, item


class Page:
    """What one fetch returned. Commit it before you ask for the next."""

    def __init__(
        self,
        tenure: Tenure,
        stream: Stream,
        course: PageCourse | RetryCourse,
        items: list[Any],
        span: Span,
    ) -> None:
        self.items = items
        self._span = span
        self._tenure = tenure
        self._stream = stream
        self._course = course

    @property
    def is_committed(self) -> bool:
        """Whether this page's commit has succeeded."""
        return self._course.is_committed

    @property
    def is_last(self) -> bool:
        """Whether the window is done once this page is committed."""
        return self._course.is_last

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)} items of {self._stream.key}>"

    def commit(self, joined: Joined | None = None) -> Commit:
        """The transaction that commits this page: ``with page.commit() as tx``.

        With ``joined`` (what ``store.joined(connection)`` returned) it becomes part of your own
        open transaction, and durable when you commit that.

        Raises NotCommitted if this page was committed before, or another one was meanwhile.
        """
        self._course.check()
        return Commit(self._tenure, self._stream, self._course, joined, self._span)
