"""dlt loads what a belaypin stream has not loaded yet: gaps first, then what is new.

Needs ``dlt``. The store keeps the coverage and the ledger of the stream; both advance once dlt's load
package is loaded, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import dlt

from belaypin import NotCommitted, Store, UsageError, Window
from belaypin.fields import values
from belaypin.ids import extract_ids
from belaypin.keys import Key

__all__ = ["tracked"]

Fetch = Callable[[Window, Any], tuple[Sequence[Any], Any]]
Getter = str | Callable[[Any], Any]

_COMMITTED_AT_ONCE: Final = 10_000


def tracked(
    store: Store,
    stream: Key | Sequence[str],
    fetch: Fetch,
    *,
    key: Getter,
    at: Getter | None = None,
    name: str | None = None,
    wait_s: float = 0,
    hints: dict[str, Any] | None = None,
    **windows: Any,
) -> Iterator[Any]:
    """A dlt resource for each window of a stream: ``for posts in tracked(...): pipeline.run(posts)``.

    ``stream`` is a key of three parts, whose entity is leased meanwhile (``wait_s`` as in
    ``store.lease``). ``fetch(window, cursor)`` returns the items of a page and the cursor of the
    next, None at the end. ``key`` and ``at`` are the fields of an item's id and event time, or
    functions. ``windows`` are options of ``lease.windows``: ``since``, ``overlap``, ``until`` ...

    A resource yields the items whose ids are not in the ledger. Its name is ``name``, else the
    stream's; it merges by ``key`` where that is a field, unless ``hints``, arguments of
    ``dlt.resource``, say otherwise. When the body of the loop is done, the window is committed.
    If it raises, or does not load the resource (NotCommitted), the window comes again next time::

        for posts in tracked(store, ("social", "user:7", "posts"), fetch, key="id", since="30d"):
            pipeline.run(posts)
    """
    stream = Key.of(stream)
    if stream.depth != 3:
        raise UsageError(f"A dlt resource is a stream: a key of three parts, not {stream}.")
    given: dict[str, Any] = {"name": name or stream.stream, "write_disposition": "merge"}
    if isinstance(key, str):
        given["primary_key"] = key
    given |= hints or {}
    options = windows if at is None else {**windows, "at": "at"}
    with store.lease(stream.pipeline, stream.entity, wait_s=wait_s) as lease:
        for window in lease.windows(stream.stream, **options):
            if window.is_retry:
                continue  # put aside by others, as nothing fails one by one here
            extract = _Extract(store, stream, window, fetch, key, at)
            # A pipeline that was killed loads what it had extracted, and extracts nothing.
            for _ in range(2):
                yield dlt.resource(extract.items(), **given)
                if extract.is_done:
                    break
            extract.check_loaded()
            _commit(window, extract.marks)


class _Extract:
    """What of a window is new, and whether dlt has loaded it."""

    def __init__(
        self,
        store: Store,
        stream: Key,
        window: Window,
        fetch: Fetch,
        key: Getter,
        at: Getter | None,
    ) -> None:
        self.is_done = False
        self.marks: list[dict[str, Any]] = []
        """Of each item, its id and its time: what the commit needs."""
        self._store = store
        self._stream = stream
        self._window = window
        self._fetch = fetch
        self._key = key
        self._at = at
        self._pipeline: Any = None

    def items(self) -> Iterator[list[Any]]:
        """The new items of each page; begun when dlt extracts."""
        self.is_done, self.marks, self._pipeline = False, [], dlt.current.pipeline()
        met: set[Any] = set()
        cursor, is_last = None, False
        while not is_last:
            items, cursor = self._fetch(self._window, cursor)
            is_last = cursor is None
            ids = extract_ids(items, self._key)
            self.marks += self._marked(items, ids)
            met |= self._store.seen(self._stream, ids)
            fresh = []
            for item, item_id in zip(items, ids, strict=True):
                if item_id not in met:
                    met.add(item_id)
                    fresh.append(item)
            if fresh:
                yield fresh
        self.is_done = True

    def _marked(self, items: Sequence[Any], ids: Sequence[Any]) -> list[dict[str, Any]]:
        if self._at is None:
            return [{"id": item_id} for item_id in ids]
        times = values(items, self._at, "at")
        return [{"id": i, "at": time} for i, time in zip(ids, times, strict=True)]

    def check_loaded(self) -> None:
        """Raise NotCommitted unless dlt has loaded the resource, whole."""
        if not self.is_done:
            problem = "was not extracted: pass it to pipeline.run, in the body of the loop"
        elif self._pipeline.has_pending_data:
            problem = "was extracted, but not loaded: call pipeline.run, or load"
        elif _has_failed(self._pipeline):
            problem = "was not loaded: jobs of its package failed, see pipeline.last_trace"
        else:
            return
        raise NotCommitted(
            f"{self._window} {problem}. Nothing of it is committed; it comes again in the next run."
        )


def _has_failed(pipeline: Any) -> bool:
    info = pipeline.last_trace.last_load_info
    return info is None or bool(info.has_failed_jobs)


def _commit(window: Window, marks: list[dict[str, Any]]) -> None:
    """Commit what was loaded. However far another run came, its cursor says nothing here."""
    parts = [marks[n : n + _COMMITTED_AT_ONCE] for n in range(0, len(marks), _COMMITTED_AT_ONCE)]
    left = iter(range(1, len(parts)))
    pages = iter(parts)

    def fetch(_: Any) -> tuple[list[Any], int | None]:
        return next(pages, []), next(left, None)

    for page in window.pages(fetch):
        with page.commit() as tx:
            tx.fresh(page.items, key="id")
