"""A sample: the figures of a store at one moment, read once and shown as often as is asked."""

from __future__ import annotations

from typing import NamedTuple

import belaypin
from belaypin import Health, StreamRow

__all__ = ["Sample", "read"]


class Sample(NamedTuple):
    """What one look at the store found."""

    whole: Health
    pipelines: tuple[tuple[str, Health], ...]
    total: int
    worst: tuple[StreamRow, ...]


def read(store: belaypin.Store, *, pipelines: int, worst: int) -> Sample:
    """Look at the store, in one short read for each pipeline; nothing is written."""
    names = store.pipelines()
    whole = store.health()
    if len(names) == 1:  # what belongs to no pipeline is not among the figures of one
        each: tuple[tuple[str, Health], ...] = ((names[0], whole),)
    else:
        each = tuple((name, store.health(pipeline=name)) for name in names[:pipelines])
    rows = store.streams(order="lag", limit=worst) if worst else ()
    return Sample(whole, each, len(names), tuple(rows))
