"""The feed: where a run's entities come from, a bounded number of them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any

import belaypin
from belaypin.fields import describe
from belaypin.pipeline.parts import Source

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Feed"]

_AHEAD = 1_000


class Feed:
    """Batches of entities, those furthest behind first among the next thousand or so.

    Entities that the store does not know come last, in the order in which they were named. Raises
    UsageError for what is no entity.
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
        self._ahead: list[str] = []
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
        while not self._ahead and not self._is_over:
            self._look_ahead()
        size = min(self._size, max(1, len(self._ahead)))
        batch, self._ahead = self._ahead[:size], self._ahead[size:]
        return tuple(batch)

    def _look_ahead(self) -> None:
        if self._failure is not None:
            raise self._failure
        found: list[str] = []
        try:
            found.extend(map(_name, islice(self._source, _AHEAD)))
            self._is_over = len(found) < _AHEAD
        except Exception as failure:  # noqa: BLE001 -- raised again when those before it are out
            self._failure = failure
        self._taken += len(found)
        self._ahead = found
        if len(found) > 1 and self._streams:
            lags = {name: self._lag_s(name) for name in dict.fromkeys(found)}
            found.sort(key=lambda name: -lags[name])

    def _lag_s(self, entity: str) -> float:
        """How far behind an entity is; one of which nothing is known has no lag yet."""
        lags = (self._store.lag((self._pipeline, entity, stream)) for stream in self._streams)
        return max((lag.total_seconds() for lag in lags if lag is not None), default=0.0)


def _name(entity: object) -> str:
    if isinstance(entity, bool) or not isinstance(entity, (str, int)) or entity == "":
        raise belaypin.UsageError(
            f"{describe(entity)} names no entity: yield texts or numbers, as parts of a Key."
        )
    return str(entity)
