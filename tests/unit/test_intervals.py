"""Interval arithmetic against the plainest model there is: a set of integers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin import intervals
from belaypin.errors import UsageError

TOP = 24

pairs = st.tuples(st.integers(0, TOP), st.integers(0, TOP)).map(lambda p: (min(p), max(p)))
many_pairs = st.lists(pairs, max_size=8)


def points(some: list[tuple[int, int]]) -> set[int]:
    return {point for start, end in some for point in range(start, end)}


def assert_is_set(some: intervals.Intervals) -> None:
    """Sorted, none empty, none touching: the shape that every function promises and expects."""
    assert all(start < end for start, end in some)
    assert all(left[1] < right[0] for left, right in pairwise(some))


SMALL = 7
ALL_PAIRS = [(start, end) for end in range(SMALL + 1) for start in range(end + 1)]
ALL_SETS = [
    intervals.normalise((at, at + 1) for at in range(SMALL) if bits >> at & 1)
    for bits in range(2**SMALL)
]


@pytest.mark.parametrize("one", ALL_PAIRS)
def test_every_small_set_with_every_small_interval(one: tuple[int, int]) -> None:
    """Chance finds touching ends too rarely; here they all are."""
    ours = points([one])
    for some in ALL_SETS:
        theirs = points(some)
        added, taken = intervals.add(some, *one), intervals.subtract(some, *one)
        missing = intervals.gaps(some, *one)
        for result in (added, taken, missing):
            assert_is_set(result)
        assert points(added) == theirs | ours
        assert points(taken) == theirs - ours
        assert points(missing) == ours - theirs
        assert intervals.covers(some, *one) == (ours <= theirs)


@given(many_pairs)
def test_normalise_keeps_the_points_and_makes_a_set(some: list[tuple[int, int]]) -> None:
    result = intervals.normalise(some)
    assert_is_set(result)
    assert points(result) == points(some)


@given(many_pairs, pairs)
def test_add_is_union(some: list[tuple[int, int]], one: tuple[int, int]) -> None:
    before = intervals.normalise(some)
    result = intervals.add(before, *one)
    assert_is_set(result)
    assert points(result) == points(some) | points([one])
    assert before == intervals.normalise(some), "the argument is left alone"


@given(many_pairs, pairs)
def test_subtract_is_difference(some: list[tuple[int, int]], one: tuple[int, int]) -> None:
    before = intervals.normalise(some)
    result = intervals.subtract(before, *one)
    assert_is_set(result)
    assert points(result) == points(some) - points([one])
    assert before == intervals.normalise(some), "the argument is left alone"


@given(many_pairs, pairs)
def test_gaps_are_what_is_missing(some: list[tuple[int, int]], one: tuple[int, int]) -> None:
    result = intervals.gaps(intervals.normalise(some), *one)
    assert_is_set(result)
    assert points(result) == points([one]) - points(some)


@given(many_pairs, pairs)
def test_covers_is_subset(some: list[tuple[int, int]], one: tuple[int, int]) -> None:
    assert intervals.covers(intervals.normalise(some), *one) == (points([one]) <= points(some))


@given(many_pairs, st.integers(-1, TOP + 1))
def test_head_is_the_end_of_the_first_run_of_points(
    some: list[tuple[int, int]], since: int
) -> None:
    covered = points(some)
    after = sorted(point for point in covered if point >= since)
    expected = None
    if after:
        expected = after[0]
        while expected in covered:
            expected += 1
    assert intervals.head(intervals.normalise(some), since) == expected


@given(many_pairs, st.integers(0, TOP), pairs)
def test_head_never_moves_back_when_coverage_grows_from_it(
    some: list[tuple[int, int]], since: int, one: tuple[int, int]
) -> None:
    before = intervals.normalise(some)
    head = intervals.head(before, since)
    if head is None:
        return
    grown = intervals.add(before, head, max(head, one[1]))
    assert (intervals.head(grown, since) or 0) >= head


@pytest.mark.parametrize("function", [intervals.add, intervals.subtract, intervals.gaps])
def test_an_end_before_the_start_is_refused(function: object) -> None:
    with pytest.raises(UsageError, match="ends before it starts"):
        function([], 5, 4)  # type: ignore[operator]
    with pytest.raises(UsageError, match="ends before it starts"):
        intervals.normalise([(5, 4)])


def test_intervals_beyond_64_bits_are_only_integers() -> None:
    huge = 2**80
    assert intervals.add([(0, 1)], huge, huge + 1) == [(0, 1), (huge, huge + 1)]
