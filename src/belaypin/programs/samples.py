"""Samples: the figures of health over time, at most one for each slot of time."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from belaypin.errors import CorruptRecord
from belaypin.program import Program, SqlValue, Statement
from belaypin.records.health import Health
from belaypin.times import to_us

__all__ = ["Span", "history", "is_due", "keep"]


class Span(NamedTuple):
    """Which samples are wanted: of a pipeline ("" for the whole store), oldest first."""

    pipeline: str
    since_us: int
    until_us: int
    limit: int


def is_due(pipeline: str, every_us: int) -> Program[bool]:
    """Whether nobody has filled the present slot yet."""
    ((now_us,),) = yield Statement("clock.now")
    slot = {"pipeline": pipeline, "slot_us": now_us - now_us % every_us}
    return not (yield Statement("health.recorded", slot))


def keep(health: Health, every_us: int) -> Program[bool]:
    """Keep these figures; False if somebody else was faster."""
    at_us = to_us(health.at, "at")
    sample: dict[str, SqlValue] = {
        "pipeline": health.pipeline or "",
        "slot_us": at_us - at_us % every_us,
        "at_us": at_us,
        "figures": msgspec.json.encode(health).decode(),
    }
    return bool((yield Statement("health.record", sample)))


def history(span: Span) -> Program[list[Health]]:
    """The samples that were taken in the span, and are kept still."""
    rows = yield Statement("health.history", span._asdict())
    return [_health(figures, span.pipeline) for (figures,) in rows]


def _health(figures: str, pipeline: str) -> Health:
    try:
        return msgspec.json.decode(figures, type=Health)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise CorruptRecord(
            f"A sample of health (pipeline {pipeline!r}) can't be read: {error}. Nothing else "
            f"depends on it: delete its row of belaypin_health, or restore it from a backup."
        ) from error
