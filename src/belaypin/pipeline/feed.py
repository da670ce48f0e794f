"""The feed: where a run's entities come from, a bounded number of them in memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, Any

import belaypin
from belaypin.clock import monotonic_s
from belaypin.fields import describe
from belaypin.pipeline.parts import Source

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Feed"]

_FEW = 1_000
_AHEAD = 100_000
"""So many names of a generator are held at once: some ten megabytes."""
_LOOK_S = 1.0
"""A generator that takes long to say a thousand names does not keep the first ones from work."""
_PAGE = 500
_LOOKED = 10
"""So many rows of the store are looked through for each name that is sought among them."""


class Feed:
    """Batches of entities, those furthest behind first, whatever the order in which they are named.

    A list is put in order as a whole, a generator among the next hundred thousand names that it
    yields within a second, so that memory is bounded. Entities that the store does not know come
    last, in the order in which they were named. Raises UsageError for what is no entity.
    """

    def __init__(
        self,
        entities: Iterable[Any],
        store: belaypin.Store,
        pipeline: Pipeline,
        size: int,
    ) -> None:
        self._source: Iterator[Any] = iter(entities)
        self._known = len(entities) if isinstance(entities, Sized) else None
        self._taken = 0
        self._store = store
        self._pipeline = pipeline.name
        self._streams = [part.stream for part in pipeline.parts if isinstance(part, Source)]
        self._size = size
        self._ahead = _Ahead([])
        self._is_over = False
        self._failure: Exception | None = None

    @property
    def remaining(self) -> int | None:
        """How many were not given out yet; None if that can't be known."""
        if self._is_over:
            return len(self._ahead)
        return None if self._known is None else self._known - self._taken + len(self._ahead)

    def batch(self) -> tuple[str, ...]:
        """The next entities; none at the end."""
        while not len(self._ahead) and not self._is_over:
            self._look_ahead()
        return self._ahead.take(self._size)

    def _look_ahead(self) -> None:
        if self._failure is not None:
            raise self._failure
        found: list[str] = []
        try:
            self._read(found)
        except Exception as failure:  # noqa: BLE001 -- raised again when those before it are out
            self._failure = failure
        self._taken += len(found)
        if len(found) > _FEW and self._streams:
            self._ahead = _FurthestFirst(found, self._store, self._pipeline)
            return
        self._ahead = _Ahead(found)
        if len(found) > 1 and self._streams:
            lags = {name: self._lag_s(name) for name in dict.fromkeys(found)}
            self._ahead = _Ahead(sorted(found, key=lambda name: -lags[name]))

    def _read(self, found: list[str]) -> None:
        """Add names: all of a list; of a generator what may be held, or what does not take long."""
        until_s = monotonic_s() + _LOOK_S
        for entity in self._source:
            found.append(_name(entity))
            if self._known is not None or len(found) < _FEW:
                continue
            if len(found) == _AHEAD or monotonic_s() > until_s:
                return
        self._is_over = True

    def _lag_s(self, entity: str) -> float:
        """How far behind an entity is; one of which nothing is known has no lag yet."""
        lags = (self._store.lag((self._pipeline, entity, stream)) for stream in self._streams)
        return max((lag.total_seconds() for lag in lags if lag is not None), default=0.0)


class _Ahead:
    """Names in the order in which they are given out."""

    def __init__(self, names: Iterable[str]) -> None:
        self._ready = deque(names)

    def __len__(self) -> int:
        return len(self._ready)

    def take(self, count: int) -> tuple[str, ...]:
        """The next ones, at most so many."""
        return tuple(self._ready.popleft() for _ in range(min(count, len(self._ready))))


class _FurthestFirst(_Ahead):
    """Many names, put in order by the store's own list, page by page as they are asked for.

    The list also has entities that are not meant. If it goes on and on about those, the rest is
    given out as it was named: the order is worth some looking, not a walk through everything.
    """

    def __init__(self, names: list[str], store: belaypin.Store, pipeline: str) -> None:
        super().__init__([])
        self._waiting = Counter(names)
        self._count = len(names)
        self._store = store
        self._pipeline = pipeline
        self._after: str | None = None
        self._left_to_look = _LOOKED * len(names)

    def __len__(self) -> int:
        return self._count

    def take(self, count: int) -> tuple[str, ...]:
        while len(self._ready) < min(count, self._count):
            self._look()
        taken = super().take(count) if self._ready else ()
        self._count -= len(taken)
        return taken

    def _look(self) -> None:
        if self._left_to_look > 0:
            page = self._store.entities(
                pipeline=self._pipeline, order="lag", limit=_PAGE, after=self._after
            )
            self._after = page.next
            self._left_to_look = self._left_to_look - _PAGE if page.next is not None else 0
            for row in page:
                self._ready.extend([row.key.entity] * self._waiting.pop(row.key.entity, 0))
        else:
            self._ready.extend(self._waiting.elements())
            self._waiting.clear()


def _name(entity: object) -> str:
    if isinstance(entity, bool) or not isinstance(entity, (str, int)) or entity == "":
        raise belaypin.UsageError(
            f"{describe(entity)} names no entity: yield texts or numbers, as parts of a Key."
        )
    return str(entity)
