"""Isolation: a page handed out whole or, where it may hold an item that kills, item by item."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from belaypin._async.tenure import AsyncTenure
from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.programs import failures, suspects
from belaypin.programs.courses import Handling, WindowCourse
from belaypin.programs.failures import Failures
from belaypin.programs.pages import Stream, StreamRow
from belaypin.programs.suspects import Watch
from belaypin.records.failure import print_of
from belaypin.retry import Retry

__all__ = ["AsyncIsolation", "Part", "prepared"]


class Part(NamedTuple):
    """Items to hand out together; ``is_whole``: with them the page is complete."""

    items: list[Any]
    is_whole: bool


class AsyncIsolation:
    """How the pages of one window are handed out."""

    def __init__(self, tenure: AsyncTenure, stream: Stream, course: WindowCourse) -> None:
        self._tenure = tenure
        self._stream = stream
        self._course = course

    async def parts(self, items: list[Any], retried: Mapping[int, str]) -> AsyncIterator[Part]:
        """The page in parts; each one was processed when the next is asked for.

        ``retried``: the stored ids of items that had failed before.
        """
        handling = self._course.handling
        if handling.unnamed and not retried:
            items = [item for item in items if _name(item) not in handling.unnamed]
        watch = handling.watch
        if watch is None or not watch.is_active:
            yield Part(items, True)
            return
        names = [retried.get(id(item)) or _name(item) for item in items]
        if watch.isolates and None not in names:
            for item, name in zip(items, names, strict=True):
                if await self._takes(watch, name or "", item):
                    yield Part([item], False)
                    watch.let_go()
            yield Part([], True)
            if watch.needs_mark:  # the last item is innocent of what happens in the next fetch
                await self._mark(watch)
        else:
            if watch.needs_mark:
                await self._mark(watch)
            yield Part(items, True)
        watch.page_passed()

    async def _takes(self, watch: Watch, name: str, item: Any) -> bool:
        """Whether an item may be handed out; one that has killed often enough is quarantined."""
        if not watch.is_killer(name):
            watch.take(name)
            await self._mark(watch)
            return True
        changes = Failures(self._course.handling.retry, self._course.event_us)
        giving = suspects.give_up(self._tenure.fence(), self._stream, watch, name, item, changes)
        is_durable = False
        try:
            async with self._tenure.open_transaction() as transaction:
                await transaction.run(giving)
            is_durable = True
        finally:
            self._stream.ended(durable=is_durable)
        self._course.handling.unnamed.add(name)  # a later window may show it again
        return False

    async def _mark(self, watch: Watch) -> None:
        async with self._tenure.open_transaction() as transaction:
            await transaction.run(suspects.mark(self._tenure.fence(), watch))


def _name(item: Any) -> str | None:
    """What an item is known by; None for what is no JSON, and could not be kept."""
    try:
        return print_of(item)
    except UsageError:
        return None


async def prepared(
    tenure: AsyncTenure, watches: dict[Key, Watch], key: Key, row: StreamRow, retry: Retry
) -> Handling:
    """What the windows of a stream must know; who follows a dead worker keeps a watch on it."""
    fence, unnamed = tenure.fence(), set[str]()
    if row.failures:
        async with tenure.open_transaction(write=False) as transaction:
            unnamed = await transaction.run(failures.unnamed(row.key_id, row.generation))
    if fence.deaths and retry.isolate_after is not None and key not in watches:
        async with tenure.open_transaction() as transaction:
            watches[key] = await transaction.run(suspects.begin(fence, key, retry))
    return Handling(retry, watches.get(key), unnamed)
