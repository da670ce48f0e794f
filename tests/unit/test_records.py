"""Records: frozen, aware, and with the derived times that people ask for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from belaypin.errors import UsageError
from belaypin.keys import Key
from belaypin.records.checkpoints import Checkpoint, Interval

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def checkpoint(completed_at: datetime | None = None) -> Checkpoint[dict[str, int]]:
    return Checkpoint(
        key=Key("p", "e"),
        state={"page": 3},
        version=4,
        schema_version=1,
        content_hash=None,
        status="complete" if completed_at else "active",
        attempts=1,
        created_at=NOON,
        updated_at=NOON + 2 * HOUR,
        completed_at=completed_at,
    )


def test_an_interval_knows_its_duration_and_sorts() -> None:
    interval = Interval(NOON, NOON + HOUR)
    assert interval.duration == HOUR
    assert interval < Interval(NOON + HOUR, NOON + 2 * HOUR)
    assert interval == Interval(NOON.astimezone(timezone(HOUR)), NOON + HOUR)
    assert str(interval) == "[2024-01-01T12:00:00+00:00, 2024-01-01T13:00:00+00:00)"


def test_an_interval_refuses_naive_and_reversed_ends() -> None:
    with pytest.raises(UsageError, match="aware"):
        Interval(NOON.replace(tzinfo=None), NOON)
    with pytest.raises(UsageError, match="aware"):
        Interval(NOON, NOON.replace(tzinfo=None))
    with pytest.raises(UsageError, match="before it starts"):
        Interval(NOON, NOON - HOUR)


def test_records_are_frozen_and_hashable_where_their_parts_are() -> None:
    interval = Interval(NOON, NOON + HOUR)
    with pytest.raises(AttributeError):
        interval.start = NOON  # type: ignore[misc]
    with pytest.raises(AttributeError):
        checkpoint().version = 5  # type: ignore[misc]
    assert len({interval, Interval(NOON, NOON + HOUR)}) == 1


def test_a_checkpoint_tells_whether_and_how_long() -> None:
    assert not checkpoint().is_complete
    assert checkpoint().processing_duration == 2 * HOUR
    done = checkpoint(completed_at=NOON + HOUR)
    assert done.is_complete
    assert done.processing_duration == HOUR
    assert done.state["page"] == 3
