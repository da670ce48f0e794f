"""Courses: how far a window of pages, or a live stream, has come; what a commit moves forward.

Pure bookkeeping in memory. What it says is checked against the database at every commit, so a
transaction that was rolled back behind our back is found out and nothing is stepped over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from belaypin.errors import NotCommitted, UsageError
from belaypin.keys import Key
from belaypin.programs.pages import Counts, OpenWindow
from belaypin.programs.suspects import Watch
from belaypin.retry import Retry
from belaypin.times import MIN_US, At, event_time, newest_us

__all__ = [
    "PLAIN",
    "BatchCourse",
    "Course",
    "Handling",
    "LiveCourse",
    "PageCourse",
    "RetryCourse",
    "WindowCourse",
]


class Handling(NamedTuple):
    """What becomes of items that fail, or kill their worker."""

    retry: Retry = Retry()
    watch: Watch | None = None
    """Set for a worker that follows a dead one."""
    unnamed: set[str] = set()  # noqa: RUF012 -- changed only where there is a watch
    """The prints of quarantined items whose ids nobody has read: not to be handed out."""


PLAIN = Handling()

_LEFT_TO_LATER = 256
"""Pages without anything new that may pass before the cursor is written all the same."""


class Course(Protocol):
    """What a commit moves forward."""

    @property
    def event_us(self) -> Callable[[Any], int] | None:
        """Tells an item's event time, where ``at=`` was given."""

    @property
    def late_before_us(self) -> int:
        """Items before this time are late; MIN_US: none can be."""

    @property
    def handling(self) -> Handling:
        """What becomes of items that fail, or kill."""

    @property
    def retried(self) -> Mapping[int, str]:
        """The failed items that come back with this page, by identity: their stored ids."""

    @property
    def horizon_us(self) -> int:
        """The replay horizon that the worker declares."""

    @property
    def stored(self) -> OpenWindow | None:
        """The role's open window as the database should have it now."""

    @property
    def live_us(self) -> tuple[int, int] | None:
        """From when to when there was listening without a break, once ``after`` has said it."""

    @property
    def carried(self) -> Counts:
        """What earlier commits left to be counted by this one."""

    def newest_of(self, items: Sequence[Any], entered: Sequence[Any]) -> int | None:
        """None of those ``entered`` of the items is newer than this; None if nobody can say."""

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        """The open window after this commit, and the event time that it covers."""

    def can_wait(self) -> bool:
        """Whether a commit that adds nothing may be left to a later one."""

    def done(self) -> None:
        """The commit is durable, or part of the user's own transaction."""

    def left(self, counts: Counts) -> None:
        """The commit was left to a later one, which shall add these counts."""


class WindowCourse:
    """A window on its way, shared by its pages."""

    def __init__(
        self,
        key: Key,
        window: OpenWindow,
        stored: OpenWindow | None,
        at: At | None,
        handling: Handling = PLAIN,
        horizon_us: int = MIN_US,
    ) -> None:
        self.key = key
        self.horizon_us = min(horizon_us, window.start_us)
        self.handling = handling
        self.window = self._opened = window
        self.stored = stored
        """The role's open window as the database has it: this one, or another."""
        self.carried = Counts()
        self.left_to_later = 0
        self.at = at
        self.event_us = None if at is None else event_time(at)
        self.is_done = False

    @property
    def is_half_way(self) -> bool:
        """Whether some of its pages are committed and others are not."""
        return self.window is not self._opened and not self.is_done

    def page(self, items: Sequence[Any], next_cursor: Any, *, is_part: bool = False) -> PageCourse:
        """The step that a page of these items takes; ``is_part``: the rest of it is to follow."""
        before = self.window
        newest, seen_us = before.newest_us, None
        if before.caps_at_newest and self.at is not None and items:
            seen_us = newest_us(items, self.at)
            newest = seen_us if newest is None or seen_us is None else max(newest, seen_us)
        after = OpenWindow(
            before.start_us,
            before.end_us,
            before.is_head,
            before.covered_to_us,
            before.cursor if is_part else next_cursor,
            newest,
            before.caps_at_newest,
        )
        is_last = not is_part and next_cursor is None
        return PageCourse(self, before, after, items, seen_us, is_last=is_last)

    def retry_page(self, retried: Mapping[int, str]) -> RetryCourse:
        """The step of a page of items that had failed, which leaves the window where it is."""
        return RetryCourse(self, retried)


class PageCourse:
    """One page's step through its window."""

    live_us: tuple[int, int] | None = None
    retried: Mapping[int, str] = {}

    def __init__(
        self,
        window: WindowCourse,
        before: OpenWindow,
        after: OpenWindow,
        items: Sequence[Any],
        seen_us: int | None,
        *,
        is_last: bool,
    ) -> None:
        self.is_committed = False
        self.is_last = is_last
        self.event_us = window.event_us
        self.handling = window.handling
        self.horizon_us = window.horizon_us
        self.late_before_us = before.covered_to_us
        self._window = window
        self._before = before
        self._after = after
        self._items = items
        self._seen_us = seen_us  # the newest of them, where it was needed already

    @property
    def stored(self) -> OpenWindow | None:
        return self._window.stored

    @property
    def carried(self) -> Counts:
        return self._window.carried

    def check(self) -> None:
        """Raise NotCommitted if it is not this page's turn."""
        if self.is_committed or self._window.window is not self._before:
            raise NotCommitted(
                f"This page of {self._window.key} was committed already, or its window has moved "
                f"on without it. Take the next page from pages()."
            )

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        if self.is_last:
            return None, (self._after.start_us, self._after.proven_end_us)
        return self._after, None

    def newest_of(self, items: Sequence[Any], entered: Sequence[Any]) -> int | None:
        if items is self._items and self._seen_us is not None:
            return self._seen_us
        at = self._window.at
        return None if at is None else newest_us(entered, at)

    def can_wait(self) -> bool:
        return not self.is_last and self._window.left_to_later < _LEFT_TO_LATER

    def done(self) -> None:
        self._window.stored = None if self.is_last else self._after
        self._window.left_to_later = 0
        self._move(Counts())

    def left(self, counts: Counts) -> None:
        self._window.left_to_later += 1
        self._move(counts)

    def _move(self, carried: Counts) -> None:
        self._window.window, self._window.carried = self._after, carried
        self._window.is_done = self.is_last
        self.is_committed = True


class LiveCourse:
    """A live stream while we listen: each commit covers the time since the one before.

    The first covers from the moment of connecting. A batch that is not committed is a break: the
    time until the next commit stays a gap.
    """

    def __init__(
        self,
        key: Key,
        at: At,
        settle_us: int,
        stored: OpenWindow | None,
        connected_us: int,
        handling: Handling = PLAIN,
    ) -> None:
        self.key = key
        self.handling = handling
        self.stored = stored
        self.at = at
        self.event_us = event_time(at)
        self.settle_us = settle_us
        self.unbroken_from_us = self.covered_to_us = connected_us
        self.is_broken = False
        self._batch: BatchCourse | None = None

    def batch(self) -> BatchCourse:
        """The step that the next batch takes."""
        if self._batch is not None and not self._batch.is_committed:
            self.is_broken = True
        self._batch = BatchCourse(self)
        return self._batch


class BatchCourse:
    """One batch's step through live time."""

    retried: Mapping[int, str] = {}
    horizon_us = MIN_US  # who listens obeys it; who asks for windows declares it

    def __init__(self, live: LiveCourse) -> None:
        self.is_committed = False
        self.handling = live.handling
        self.event_us = live.event_us
        self.late_before_us = live.covered_to_us
        self.carried = Counts()
        self.live_us: tuple[int, int] | None = None
        self._live = live
        self._covers_to_us = live.covered_to_us

    @property
    def stored(self) -> OpenWindow | None:
        return self._live.stored

    def check(self) -> None:
        """Raise NotCommitted if this batch was committed before."""
        if self.is_committed:
            raise NotCommitted(f"This batch of {self._live.key} was committed already.")

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        live = self._live
        since_us = now_us if live.is_broken else live.covered_to_us
        self._covers_to_us = max(since_us, now_us - live.settle_us)
        unbroken_from_us = now_us if live.is_broken else live.unbroken_from_us
        self.live_us = (unbroken_from_us, self._covers_to_us)
        return live.stored, (since_us, self._covers_to_us)

    def newest_of(self, items: Sequence[Any], entered: Sequence[Any]) -> int | None:
        return newest_us(entered, self._live.at)

    def can_wait(self) -> bool:
        return False

    def done(self) -> None:
        assert self.live_us is not None
        self._live.unbroken_from_us, self._live.covered_to_us = self.live_us
        self._live.is_broken = False
        self.is_committed = True

    def left(self, counts: Counts) -> None:
        raise AssertionError("a batch always moves the time that is covered")


class RetryCourse:
    """A page of items that had failed: it moves neither a cursor nor the covered time."""

    live_us: tuple[int, int] | None = None
    late_before_us = MIN_US  # they were counted, if they were late, when they were met first
    is_last = False
    horizon_us = MIN_US

    def __init__(self, window: WindowCourse, retried: Mapping[int, str]) -> None:
        self.is_committed = False
        self.event_us = window.event_us
        self.handling = window.handling
        self.retried = retried
        self.stored = window.stored
        self.carried = Counts()
        self._key = window.key
        self._at = window.at

    def check(self) -> None:
        """Raise NotCommitted if this page was committed before."""
        if self.is_committed:
            raise NotCommitted(f"This page of failed items of {self._key} was committed already.")

    def after(self, now_us: int) -> tuple[OpenWindow | None, tuple[int, int] | None]:
        return self.stored, None

    def newest_of(self, items: Sequence[Any], entered: Sequence[Any]) -> int | None:
        try:
            return None if self._at is None else newest_us(entered, self._at)
        except UsageError:
            return None  # what was put aside need not have a time that can be read

    def can_wait(self) -> bool:
        return True

    def done(self) -> None:
        self.is_committed = True

    def left(self, counts: Counts) -> None:
        self.is_committed = True
