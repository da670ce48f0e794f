"""The replay horizon: the event time below which a stream takes nothing in any more.

What lies below it is "too late", never "new". So the ledger may forget it: an id that was dropped
can't come back. That holds because the horizon only grows, under the stream row's lock, and because
an item's event time never changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from belaypin import intervals
from belaypin.errors import UsageError
from belaypin.intervals import Intervals
from belaypin.keys import Key
from belaypin.times import MIN_US, At, Duration, duration_us, from_us

__all__ = ["declared_us", "length_us", "raised_us", "reach_us"]


def length_us(horizon: Duration | None, at: At | None) -> int | None:
    """How long a declared horizon is. Raises UsageError for one that can't be kept."""
    if horizon is None:
        return None
    if at is None:
        raise UsageError("A horizon needs the items' event time: pass at= as well.")
    return duration_us(horizon, "horizon")


def declared_us(done: Intervals, since_us: int, now_us: int, length_us: int | None) -> int:
    """Where a horizon of this length lies: so long before now, or before what is still missing.

    What was asked for (from ``since_us`` on) and is not covered yet is never too late, however
    long the source or the worker was away.
    """
    if length_us is None:
        return MIN_US
    missing = intervals.gaps(done, min(since_us, now_us), now_us)
    return max(MIN_US, (missing[0][0] if missing else now_us) - length_us)


def reach_us(key: Key, done: Intervals, since_us: int, until_us: int, horizon_us: int) -> int:
    """How far back windows may begin: where ``since`` says, but not below the horizon.

    Raises UsageError if time below the horizon is wanted that was never covered.
    """
    below_us = min(horizon_us, until_us)
    if since_us >= below_us:
        return max(since_us, horizon_us)
    missing = intervals.gaps(done, since_us, below_us)
    if missing:
        raise UsageError(
            f"Windows of {key} from {from_us(since_us).isoformat()} on are wanted, but what is "
            f"older than {from_us(horizon_us).isoformat()} is too late: that is this stream's "
            f"replay horizon, and [{_shown(missing[0])}) was never covered. Nothing was fetched. "
            f"Begin no earlier than the horizon, or mine the older time into another stream."
        )
    return horizon_us


def raised_us(present_us: int, declared: int, open_from_us: Iterable[int]) -> int:
    """The horizon after a commit: it never falls, nor rises above a window that is under way."""
    return max(present_us, min([declared, *open_from_us]))


def _shown(interval: tuple[int, int]) -> str:
    start_us, end_us = interval
    return f"{from_us(start_us).isoformat()}, {from_us(end_us).isoformat()}"
