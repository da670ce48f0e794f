"""Time as belaypin keeps it: int64 microseconds since 1970-01-01T00:00:00Z, always UTC.

Conversions are exact integer arithmetic. Nothing here reads a clock: "now" is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from belaypin.errors import UsageError
from belaypin.fields import as_sequence, describe, reader, values

__all__ = [
    "MAX_US",
    "MIN_US",
    "At",
    "Duration",
    "duration_us",
    "event_time",
    "from_us",
    "newest_us",
    "since_us",
    "to_us",
]

At = str | Callable[[Any], datetime | str]
"""Where an item's event time is: a field name, a dotted path, or a callable."""

Duration = str | timedelta | int | float
"""A length of time: "30d", "1h30m", a timedelta, or a number of seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

MIN_US: int = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
MAX_US: int = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

_UNIT_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_TERM = r"\s*([0-9]{1,19})(?:\.([0-9]{1,6}))?\s*(us|ms|s|m|h|d|w)"
_terms = re.compile(_TERM).findall
_is_duration = re.compile(f"(?:{_TERM})+").fullmatch
_ADVICE = "write it like '30d', '1h30m', '90s' or '500ms' (units w d h m s ms us), or a timedelta"


def to_us(value: datetime, what: str) -> int:
    """Return an aware datetime as microseconds UTC; ``what`` names it in the `UsageError`.

    >>> to_us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "since")
    1000000
    """
    if not isinstance(value, datetime):
        raise UsageError(f"{what} must be an aware datetime, not {describe(value)}.")
    if value.utcoffset() is None:
        raise UsageError(
            f"{what} is a naive datetime ({value.isoformat()}): which zone it means is unknown. "
            f"Say it: value.replace(tzinfo=timezone.utc), or value.astimezone() for local time."
        )
    us: int = (value - _EPOCH) // _MICROSECOND
    if not MIN_US <= us <= MAX_US:
        raise UsageError(f"{what} ({value.isoformat()}) is outside the years 1 to 9999 in UTC.")
    return us


def from_us(us: int) -> datetime:
    """Return microseconds UTC as an aware datetime in UTC.

    >>> from_us(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return _EPOCH + timedelta(microseconds=us)


def duration_us(value: Duration, what: str) -> int:
    """Return a length of time in microseconds: never negative, at most 9998 years.

    Text is a sum of terms ("1h30m", "1.5h"); a bare number is in seconds. Raises `UsageError`.

    >>> duration_us("1h30m", "overlap")
    5400000000
    """
    if isinstance(value, str):
        us = _text_us(value, what)
    elif isinstance(value, timedelta):
        us = value // _MICROSECOND
    elif type(value) in (int, float):  # not bool
        us = _seconds_us(value, what)
    else:
        raise UsageError(f"{what} must be a duration, not {describe(value)}: {_ADVICE}.")
    if us < 0:
        raise UsageError(f"{what} must not be negative, not {describe(value)}.")
    if us > MAX_US - MIN_US:
        raise UsageError(f"{what} is too long ({describe(value)}): at most 9998 years.")
    return us


def since_us(since: str | timedelta | datetime, now_us: int) -> int:
    """Return where work begins: "beginning", a duration before now, or an aware datetime.

    A duration that reaches back further than the year 1 means the beginning.

    >>> since_us("1s", now_us=5_000_000)
    4000000
    """
    if since == "beginning":
        return MIN_US
    if isinstance(since, datetime):
        return to_us(since, "since")
    if isinstance(since, (str, timedelta)):
        return max(MIN_US, now_us - duration_us(since, "since"))
    raise UsageError(
        f"since must be a duration ('30d'), an aware datetime or 'beginning', "
        f"not {describe(since)}."
    )


def event_time(at: At) -> Callable[[Any], int]:
    """Return a function that reads an item's event time in microseconds UTC.

    The value is an aware datetime, or ISO 8601 text with an offset or Z. Anything whose meaning
    would have to be guessed (naive times, bare numbers) is a `UsageError` that names the item.

    >>> event_time("at")({"at": "1970-01-01T00:00:01Z"})
    1000000
    """
    read = reader(at, "at")
    return lambda item: _event_us(read(item), item)


def newest_us(items: Sequence[Any], at: At) -> int | None:
    """Return the latest event time of the items, None when there are none.

    The same answer, and the same refusals, as the maximum of `event_time` over the items.

    >>> newest_us([{"at": "1970-01-01T00:00:01Z"}, {"at": "1970-01-01T00:00:02Z"}], "at")
    2000000
    """
    items = as_sequence(items)
    if not items:
        return None
    times = values(items, at, "at")
    if set(map(type, times)) == {str}:
        newest = _newest_text_us(times)
        if newest is not None:
            return newest
    return max(map(_event_us, times, items))


def _newest_text_us(texts: list[str]) -> int | None:
    """Return the latest of ISO texts at C speed; None when one of them needs a closer look."""
    # Text carries fixed offsets only, so datetimes compare exactly. (Two datetimes that share a
    # zone with daylight saving would be compared by their wall clock: those go the slow way.)
    try:
        times = list(map(datetime.fromisoformat, texts))
        to_us(min(times), "at")  # raises when the earliest, hence any, is out of range
        return to_us(max(times), "at")
    except (ValueError, TypeError):
        return None


def _event_us(value: object, item: object) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise UsageError(
                f"the event time {describe(value)} of {describe(item)} is not ISO 8601. "
                f"Pass at= as a callable that returns an aware datetime."
            ) from None
    if not isinstance(value, datetime):
        raise UsageError(_not_a_time(value, item))
    if value.utcoffset() is None:
        raise UsageError(
            f"the event time {value.isoformat()} of {describe(item)} has no offset, so its zone is "
            f"unknown. Pass at= as a callable that returns an aware datetime, for example "
            f"lambda item: datetime.fromisoformat(item['at']).replace(tzinfo=timezone.utc)."
        )
    return to_us(value, f"the event time of {describe(item)}")


def _not_a_time(value: object, item: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (
            f"the event time {value!r} of {describe(item)} is a number, which may be seconds or "
            f"milliseconds. Pass at= as a callable, for example "
            f"lambda item: datetime.fromtimestamp(item['at'], timezone.utc) for seconds."
        )
    return (
        f"the event time {describe(value)} of {describe(item)} is neither an aware datetime nor "
        f"ISO 8601 text. Pass at= as a callable that returns an aware datetime."
    )


def _text_us(text: str, what: str) -> int:
    if not _is_duration(text.rstrip()):
        raise UsageError(f"{what} is not a duration: {describe(text)}; {_ADVICE}.")
    total_us = 0
    for whole, fraction, unit in _terms(text):
        us, rest = divmod(int(whole + fraction) * _UNIT_US[unit], 10 ** len(fraction))
        if rest:
            raise UsageError(f"{what} ({text!r}) is finer than a microsecond: round it.")
        total_us += us
    return total_us


def _seconds_us(seconds: float, what: str) -> int:
    try:
        return seconds * 1_000_000 if isinstance(seconds, int) else round(seconds * 1_000_000)
    except (ValueError, OverflowError):  # nan and infinity
        raise UsageError(f"{what} must be finite, not {seconds!r}: {_ADVICE}.") from None
