"""Windows and their pages: which range of event time to process next, and where in it we stand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

from belaypin._async.commit import AsyncCommit
from belaypin._async.resolve import resolved
from belaypin._async.work import OpenTransaction
from belaypin.errors import NotCommitted
from belaypin.fetched import read_fetched
from belaypin.programs.leases import Fence
from belaypin.programs.pages import Counts, OpenWindow, Stream
from belaypin.times import MIN_US, At, event_time, from_us, newest_us

__all__ = ["AsyncPage", "AsyncWindow", "Fetch"]

Fetch = Callable[[Any], Any | Awaitable[Any]]

_PAGES_LEFT_TO_LATER = 256
"""Pages without anything new that may pass before the cursor is written all the same."""


class AsyncWindow:
    """A range of event time [start, end) to process, page by page."""

    def __init__(
        self,
        open_transaction: OpenTransaction,
        fence: Callable[[], Fence],
        stream: Stream,
        window: OpenWindow,
        stored: OpenWindow | None,
        at: At | None,
    ) -> None:
        self._open_transaction = open_transaction
        self._fence = fence
        self._stream = stream
        self._window = window
        self.stored = stored
        """The role's open window as the database has it, this one or another."""
        self._at = at
        self._late_event_us = (
            event_time(at) if at is not None and window.covered_to_us > MIN_US else None
        )
        self._carried = Counts()
        self._left_to_later = 0
        self._page: AsyncPage | None = None
        self.resumed = stored == window
        """Whether an earlier worker had begun this window: then it goes on from ``cursor``."""

    @property
    def start(self) -> datetime:
        """The first moment of the window, aware, UTC; the overlap that is read again included."""
        return from_us(self._window.start_us)

    @property
    def end(self) -> datetime:
        """The first moment after the window, aware, UTC."""
        return from_us(self._window.end_us)

    @property
    def cursor(self) -> Any:
        """Where the next fetch goes on; None at the window's beginning."""
        return self._window.cursor

    def __repr__(self) -> str:
        return f"<Window of {self._stream.key}: {self.start} to {self.end}, cursor {self.cursor!r}>"

    async def pages(
        self, fetch: Fetch, *, items: str | None = None, cursor: str | None = None
    ) -> AsyncIterator[AsyncPage]:
        """Fetch page after page until the window is done; commit each one before the next.

        ``fetch(cursor)`` returns ``(items, next_cursor)``: the first cursor is None (or where an
        earlier worker stood), a next cursor of None ends the window. Cursors are JSON values and
        come back as such. With ``items`` (and ``cursor``), dotted paths like "data.items", fetch
        returns a JSON document or a response that has ``.json()`` instead.

        Raises FetchError if fetch returns anything else, and NotCommitted if a page with items
        was not committed when the next one is asked for.
        """
        is_last = False
        while not is_last:
            # A page of an older call of pages() doesn't count any more.
            self._page = None
            returned = await resolved(fetch(self._window.cursor))
            fetched = read_fetched(returned, self._window.cursor, items, cursor)
            is_last = fetched.next_cursor is None
            page = self._page = AsyncPage(self, fetched.items, fetched.next_cursor)
            yield page
            if not page.is_committed:
                await self._pass_over(page)

    async def _pass_over(self, page: AsyncPage) -> None:
        if page.items:
            raise NotCommitted(
                f"A page of {len(page.items)} items of {self._stream.key} was not committed, and "
                f"the next one was asked for. Nothing is lost: commit every page (`with "
                f"page.commit() as tx`), or leave the loop to take it up again later."
            )
        async with page.commit():
            pass


class AsyncPage:
    """What one fetch returned. Commit it before you ask for the next."""

    def __init__(self, window: AsyncWindow, items: list[Any], next_cursor: Any) -> None:
        self.items = items
        self.is_committed = False
        self._of = window
        self._before = window._window
        self._next_cursor = next_cursor
        self.event_us = window._late_event_us
        self.late_before_us = self._before.covered_to_us

    @property
    def is_last(self) -> bool:
        """Whether the window is done once this page is committed."""
        return self._next_cursor is None

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)} items of {self._of._stream.key}>"

    def commit(self, joined: Any = None) -> AsyncCommit:
        """The transaction that commits this page: ``with page.commit() as tx``.

        With ``joined`` (what ``store.joined(connection)`` returned) it becomes part of your own
        open transaction, and durable when you commit that.

        Raises NotCommitted if this page was committed before, or another one was meanwhile.
        """
        window = self._of
        if self.is_committed or window._window is not self._before:
            raise NotCommitted(
                f"This page of {window._stream.key} was committed already, or its window has moved "
                f"on without it. Take the next page from pages()."
            )
        return AsyncCommit(
            window._open_transaction if joined is None else joined._open,
            window._fence(),
            window._stream,
            self,
            window._carried,
            is_joined=joined is not None,
        )

    @property
    def stored(self) -> OpenWindow | None:
        return self._of.stored

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        window = self._following()
        if self._next_cursor is not None:
            return window, None
        return None, (window.start_us, window.proven_end_us)

    def can_wait(self) -> bool:
        return self._next_cursor is not None and self._of._left_to_later < _PAGES_LEFT_TO_LATER

    def moved(self, stored: OpenWindow | None, skipped: Counts, *, durable: bool) -> None:
        window = self._of
        window._window, window.stored, window._carried = self._following(), stored, skipped
        window._left_to_later = 0 if durable else window._left_to_later + 1
        self.is_committed = True

    def _following(self) -> OpenWindow:
        before = self._before
        newest = before.newest_us
        if before.caps_at_newest and self._of._at is not None and self.items:
            seen_us = newest_us(self.items, self._of._at)
            newest = seen_us if newest is None or seen_us is None else max(newest, seen_us)
        return OpenWindow(
            before.start_us,
            before.end_us,
            before.is_head,
            before.covered_to_us,
            self._next_cursor,
            newest,
            before.caps_at_newest,
        )
