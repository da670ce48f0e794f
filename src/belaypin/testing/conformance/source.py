"""Something to fetch from: an HTTP API in small, with pages, cursors, and calls that are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

__all__ = ["DAY", "Fetch", "Item", "Source", "event", "events", "minute", "one_page"]

Item = dict[str, Any]
Fetch = Callable[[Any], tuple[list[Any], Any]]

DAY = datetime(2024, 1, 1, tzinfo=UTC)
"""When the events of the checks begin."""


class _Range(Protocol):
    @property
    def start(self) -> datetime: ...
    @property
    def end(self) -> datetime: ...


def minute(number: float) -> datetime:
    """So many minutes into ``DAY``."""
    return DAY + timedelta(minutes=number)


def event(item_id: Any, at_minute: float = 0, body: str = "") -> Item:
    """An item with its event time."""
    return {"id": item_id, "at": minute(at_minute).isoformat(), "body": body}


def events(count: int, first: int = 0) -> list[Item]:
    """Items numbered from ``first``, one a minute."""
    return [event(number, number) for number in range(first, first + count)]


def one_page(items: Iterable[Any]) -> Fetch:
    """A fetch function that returns the items at once."""
    page = list(items)
    return lambda _: (page, None)


class Source:
    """Items in pages; a cursor is the number of items that came before.

    >>> source = Source(events(3), page_items=2)
    >>> source.fetch(2)
    ([{'id': 2, 'at': '2024-01-01T00:02:00+00:00', 'body': ''}], None)
    """

    def __init__(self, items: Iterable[Item], page_items: int = 3) -> None:
        self.items: Sequence[Item] = list(items)
        self.cursors: list[Any] = []
        """The cursor of each call, in order."""
        self._page_items = page_items

    def fetch(self, cursor: Any) -> tuple[list[Item], Any]:
        """The page at ``cursor`` of all items."""
        return self._page(self.items, cursor)

    def within(self, window: _Range) -> Fetch:
        """A fetch function for the items whose event time lies in ``window``."""
        start, end = window.start, window.end
        found = [i for i in self.items if start <= datetime.fromisoformat(i["at"]) < end]
        return lambda cursor: self._page(found, cursor)

    def _page(self, items: Sequence[Item], cursor: Any) -> tuple[list[Item], Any]:
        self.cursors.append(cursor)
        start = cursor or 0
        end = start + self._page_items
        return list(items[start:end]), end if end < len(items) else None
