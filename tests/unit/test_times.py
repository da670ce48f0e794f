"""Times: exact conversions, and a refusal wherever a meaning would have to be guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin import times
from belaypin.errors import UsageError

aware = st.datetimes(timezones=st.timezones())
offsets = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def reference_us(value: datetime) -> int:
    """Exact, by another way: no subtraction of datetimes."""
    offset = value.utcoffset()
    assert offset is not None
    days = value.toordinal() - date(1970, 1, 1).toordinal() - offset.days
    seconds = value.hour * 3600 + value.minute * 60 + value.second - offset.seconds
    return (days * 86_400 + seconds) * 1_000_000 + value.microsecond - offset.microseconds


@given(aware)
def test_to_us_is_exact_in_every_zone(value: datetime) -> None:
    expected = reference_us(value)
    if times.MIN_US <= expected <= times.MAX_US:
        assert times.to_us(value, "since") == expected
    else:
        with pytest.raises(UsageError, match="outside the years"):
            times.to_us(value, "since")


@given(st.integers(times.MIN_US, times.MAX_US))
def test_from_us_round_trips(us: int) -> None:
    assert times.to_us(times.from_us(us), "x") == us


def test_the_ends_of_time() -> None:
    assert times.from_us(times.MIN_US) == datetime.min.replace(tzinfo=UTC)
    assert times.from_us(times.MAX_US) == datetime.max.replace(tzinfo=UTC)
    assert -(2**63) < times.MIN_US < times.MAX_US < 2**63


def test_a_naive_datetime_is_refused_with_advice() -> None:
    naive = datetime(2024, 1, 1)  # noqa: DTZ001
    with pytest.raises(UsageError, match=r"until is a naive datetime.*timezone\.utc"):
        times.to_us(naive, "until")
    with pytest.raises(UsageError, match="aware datetime"):
        times.to_us("2024-01-01", "until")  # type: ignore[arg-type]


def test_a_time_that_utc_cannot_hold_is_refused() -> None:
    with pytest.raises(UsageError, match="outside the years 1 to 9999"):
        times.to_us(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "since")


@pytest.mark.parametrize(
    ("value", "expected_us"),
    [
        ("30d", 30 * 86_400_000_000),
        ("1h30m", 5_400_000_000),
        ("1h 30m", 5_400_000_000),
        (" 1.5h ", 5_400_000_000),
        ("90s", 90_000_000),
        ("500ms", 500_000),
        ("7us", 7),
        ("2w", 1_209_600_000_000),
        ("0s", 0),
        ("1m", 60_000_000),
        ("0.000001s", 1),
        (timedelta(days=1, microseconds=1), 86_400_000_001),
        (5, 5_000_000),
        (0.1, 100_000),
        (0, 0),
        ("9998w", 9998 * 604_800_000_000),
    ],
)
def test_durations(value: times.Duration, expected_us: int) -> None:
    assert times.duration_us(value, "overlap") == expected_us


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "30", "d", "30 days", "1h30", "-1s", "1e3s", "1y", "5m s", "s5", "1,5h", "\u0661s",
        "nan", "inf", "0.0000001s", "0.1us", "9" * 40 + "d", "9999999w", "1h\n2x", "30D",
        "beginning", float("nan"), float("inf"), float("-inf"), -1, -0.5, 1e300, 10**30,
        timedelta(seconds=-1), None, True, [], b"30d",
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused_by_name(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^overlap "):
        times.duration_us(value, "overlap")


def test_a_hostile_duration_does_not_blow_up() -> None:
    for text in ("1h " * 50_000 + "x", "1" * 1_000_000, " " * 100_000 + "x"):
        with pytest.raises(UsageError):
            times.duration_us(text, "since")


@given(st.dictionaries(st.sampled_from(["w", "d", "h", "m", "s", "ms", "us"]), st.integers(0, 99)))
def test_a_duration_is_the_sum_of_its_terms(terms: dict[str, int]) -> None:
    if not terms:
        return
    text = "".join(f"{number}{unit}" for unit, number in terms.items())
    singles = [times.duration_us(f"{number}{unit}", "x") for unit, number in terms.items()]
    assert times.duration_us(text, "x") == sum(singles)


def test_since() -> None:
    now_us = 1_700_000_000_000_000
    assert times.since_us("beginning", now_us) == times.MIN_US
    assert times.since_us("1d", now_us) == now_us - 86_400_000_000
    assert times.since_us(timedelta(seconds=1), now_us) == now_us - 1_000_000
    assert times.since_us(times.from_us(5), now_us) == 5
    assert times.since_us("5000w", now_us) < 0
    assert times.since_us(timedelta(days=9000 * 365), now_us) == times.MIN_US


@pytest.mark.parametrize("since", [None, 5, 5.0, datetime(2024, 1, 1), "yesterday", -1, True])  # noqa: DTZ001
def test_an_unclear_since_is_refused(since: Any) -> None:
    with pytest.raises(UsageError, match="since"):
        times.since_us(since, 0)


@dataclass
class Post:
    created: datetime


READABLE: list[tuple[times.At, Any]] = [
    ("at", {"at": "1970-01-01T00:00:01Z"}),
    ("at", {"at": "1970-01-01T01:00:01+01:00"}),
    ("at", {"at": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)}),
    ("data.at", {"data": {"at": "1970-01-01T00:00:01+00:00"}}),
    ("created", Post(datetime(1970, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1))))),
    (lambda item: datetime.fromtimestamp(item[0], UTC), (1,)),
    (lambda item: item["day"] + "T00:00:01Z", {"day": "1970-01-01"}),
]


@pytest.mark.parametrize(("at", "item"), READABLE)
def test_event_times(at: times.At, item: Any) -> None:
    assert times.event_time(at)(item) == 1_000_000
    assert times.newest_us([item, item], at) == 1_000_000


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"at": "1970-01-01T00:00:01"}, "no offset"),
        ({"at": "1970-01-01"}, "no offset"),
        ({"at": datetime(1970, 1, 1)}, "no offset"),  # noqa: DTZ001
        ({"at": 1}, "seconds or milliseconds"),
        ({"at": 1.5}, "seconds or milliseconds"),
        ({"at": True}, "neither"),
        ({"at": None}, "neither"),
        ({"at": date(1970, 1, 1)}, "neither"),
        ({"at": "yesterday"}, "not ISO 8601"),
        ({"at": "0000-00-00T00:00:00Z"}, "not ISO 8601"),
        ({"at": ""}, "not ISO 8601"),
        ({"id": 7}, "no field 'at'.*it has id"),
        ("text", "no field 'at'"),
        (None, "no field 'at'"),
    ],
)
def test_an_unclear_event_time_is_refused_naming_the_item(item: Any, message: str) -> None:
    good = {"at": "2024-01-01T00:00:00Z"}
    for items in ([item], [good, item, good]):
        with pytest.raises(UsageError, match=message):
            times.newest_us(items, "at")
    with pytest.raises(UsageError, match=message) as refused:
        times.event_time("at")(item)
    assert "callable" in str(refused.value)
    assert repr(item)[:10] in str(refused.value)


def iso_text(value: datetime, style: int) -> str:
    text = value.isoformat(timespec="microseconds" if style & 1 else "auto")
    return text.replace("+00:00", "Z") if style & 2 else text


valid_text = st.builds(
    iso_text,
    st.datetimes(timezones=offsets) | st.datetimes(timezones=st.just(UTC)),
    st.integers(0, 3),
)
odd_text = st.sampled_from(
    ["2024-01-01T00:00:00", "2024-13-01T00:00:00Z", "", "0000-00-00T00:00:00Z", "2024-01-01"]
)
zone = ZoneInfo("Europe/Vienna")
in_one_zone = st.datetimes(timezones=st.just(zone))  # where wall clocks and time may disagree


def outcome(call: Callable[[], int | None]) -> int | str | None:
    try:
        return call()
    except UsageError as error:
        return str(error)


@given(
    st.lists(valid_text, max_size=6)
    | st.lists(st.datetimes(timezones=st.just(UTC)).map(lambda d: iso_text(d, 3)), max_size=6)
    | st.lists(valid_text | odd_text | aware | in_one_zone | st.none(), max_size=6)
    | st.lists(in_one_zone, max_size=6)
)
def test_the_fast_newest_is_the_slow_newest(values: list[Any]) -> None:
    items = [{"at": value} for value in values]

    def slow() -> int | None:
        return max(map(times.event_time("at"), items), default=None)

    assert outcome(lambda: times.newest_us(items, "at")) == outcome(slow)


def test_newest_goes_by_time_where_the_wall_clock_is_set_back() -> None:
    before = datetime(2024, 10, 27, 2, 30, tzinfo=zone, fold=0)  # 00:30 UTC
    after = datetime(2024, 10, 27, 2, 10, tzinfo=zone, fold=1)  # 01:10 UTC, reads as earlier
    assert times.newest_us([{"at": before}, {"at": after}], "at") == times.to_us(after, "x")


def test_newest_refuses_a_time_out_of_range_that_is_not_the_newest() -> None:
    items = [{"at": "0001-01-01T00:00:00+01:00"}, {"at": "2024-01-01T00:00:00Z"}]
    with pytest.raises(UsageError, match="outside the years"):
        times.newest_us(items, "at")


def test_newest_of_nothing_is_none() -> None:
    assert times.newest_us([], "at") is None
    assert times.newest_us(iter([{"at": "1970-01-01T00:00:01Z"}]), "at") == 1_000_000  # type: ignore[arg-type]
