"""Sets of half-open integer intervals ``[start, end)``: the arithmetic of coverage.

A set is a list of ``(start, end)`` pairs, sorted, none empty, none touching another. Functions
return new lists and never change their arguments; they cost O(number of intervals).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter

from belaypin.errors import UsageError

__all__ = ["Intervals", "add", "covers", "gaps", "head", "normalise", "subtract"]

Intervals = list[tuple[int, int]]

_start = itemgetter(0)
_end = itemgetter(1)


def normalise(pairs: Iterable[tuple[int, int]]) -> Intervals:
    """Return any pairs as a set: sorted, empty ones dropped, overlapping and touching ones joined.

    >>> normalise([(5, 9), (1, 3), (3, 4), (7, 7)])
    [(1, 4), (5, 9)]
    """
    result: Intervals = []
    for start, end in sorted(pairs):
        _check(start, end)
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        elif start < end:
            result.append((start, end))
    return result


def add(intervals: Intervals, start: int, end: int) -> Intervals:
    """Return the set with ``[start, end)`` in it.

    >>> add([(1, 3), (8, 9)], 3, 5)
    [(1, 5), (8, 9)]
    """
    _check(start, end)
    if start == end:
        return list(intervals)
    first = bisect_left(intervals, start, key=_end)  # the first that reaches start
    last = bisect_right(intervals, end, key=_start)  # the first that begins beyond end
    if first < last:
        start = min(start, intervals[first][0])
        end = max(end, intervals[last - 1][1])
    return [*intervals[:first], (start, end), *intervals[last:]]


def subtract(intervals: Intervals, start: int, end: int) -> Intervals:
    """Return the set without ``[start, end)``.

    >>> subtract([(1, 9)], 3, 5)
    [(1, 3), (5, 9)]
    """
    _check(start, end)
    if start == end:
        return list(intervals)
    first = bisect_right(intervals, start, key=_end)  # the first that ends beyond start
    last = bisect_left(intervals, end, key=_start)  # the first that begins at or beyond end
    rest = intervals[first:last]
    left = [(rest[0][0], start)] if rest and rest[0][0] < start else []
    right = [(end, rest[-1][1])] if rest and rest[-1][1] > end else []
    return [*intervals[:first], *left, *right, *intervals[last:]]


def gaps(intervals: Intervals, start: int, end: int) -> Intervals:
    """Return the part of ``[start, end)`` that is not in the set.

    >>> gaps([(1, 3), (5, 9)], 0, 7)
    [(0, 1), (3, 5)]
    """
    _check(start, end)
    holes: Intervals = []
    at = start
    for covered_start, covered_end in intervals[bisect_right(intervals, start, key=_end) :]:
        if covered_start >= end:
            break
        if at < covered_start:
            holes.append((at, covered_start))
        at = covered_end
    if at < end:
        holes.append((at, end))
    return holes


def head(intervals: Intervals, since: int) -> int | None:
    """Return the end of the first interval that ends after ``since``; None if none does.

    That is the interval ``since`` lies in or, where ``since`` lies in a hole, the next one: what
    came before the stream's first interval is not held against it, a hole after that is.

    >>> head([(1, 3), (5, 9)], 2), head([(1, 3), (5, 9)], 3), head([(1, 3)], 3)
    (3, 9, None)
    """
    index = bisect_right(intervals, since, key=_end)
    return intervals[index][1] if index < len(intervals) else None


def covers(intervals: Intervals, start: int, end: int) -> bool:
    """Tell whether all of ``[start, end)`` is in the set; an empty interval always is.

    >>> covers([(1, 9)], 3, 5), covers([(1, 9)], 3, 10)
    (True, False)
    """
    return not gaps(intervals, start, end)


def _check(start: int, end: int) -> None:
    if start > end:
        raise UsageError(f"the interval [{start}, {end}) ends before it starts: swap its ends.")
