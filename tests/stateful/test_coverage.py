"""Coverage in the database against a plain set of moments, and the plan made from it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin.programs import coverage

MOMENTS = 40

moments = st.integers(0, MOMENTS)
spans = st.tuples(moments, moments)


@pytest.fixture(scope="module")
def store() -> Iterator[belaypin.Store]:
    with belaypin.open("sqlite:///:memory:") as store:
        yield store


def _within(start: int, end: int) -> set[int]:
    return {*range(start, end)}


@given(added=st.lists(spans, max_size=12), generation=st.integers(1, 2))
def test_extend_adds_moments(
    store: belaypin.Store, added: list[tuple[int, int]], generation: int
) -> None:
    store.execute("DELETE FROM belaypin_coverage")
    other = [(3, 7), (20, 30)]
    for start, end in other:
        store._run(coverage.extend(1, 3 - generation, start, end))
        store._run(coverage.extend(2, generation, start, end))
    done: set[int] = set()
    for start, end in added:
        store._run(coverage.extend(1, generation, start, end))
        done |= _within(start, end)
        rows = store._run(coverage.covered(1, generation))
        assert {moment for row in rows for moment in range(*row)} == done
        assert all(a < b for a, b in rows)
        assert all(before[1] < after[0] for before, after in pairwise(rows))
    assert store._run(coverage.covered(1, 3 - generation)) == other
    assert store._run(coverage.covered(2, generation)) == other


@given(
    added=st.lists(spans, max_size=8),
    since=moments,
    until=moments,
    overlap=st.integers(0, 10),
    is_open=st.booleans(),
)
def test_the_plan_is_what_is_missing(
    store: belaypin.Store,
    added: list[tuple[int, int]],
    since: int,
    until: int,
    overlap: int,
    is_open: bool,
) -> None:
    store.execute("DELETE FROM belaypin_coverage")
    for start, end in added:
        store._run(coverage.extend(1, 1, start, end))
    done = store._run(coverage.covered(1, 1))
    covered = {moment for row in done for moment in range(*row)}
    plan = coverage.plan(done, since, until, overlap, is_open=is_open)
    planned = [_within(span.start_us, span.end_us) for span in plan]
    assert all(planned), "an empty window"
    wanted = _within(since, until)
    assert set().union(*planned) <= wanted
    assert wanted - covered <= set().union(*planned), "something is never fetched"
    for span, inside in zip(plan, planned, strict=True):
        assert len(inside & covered) <= overlap, "more is read again than was asked for"
        if not span.is_head:
            continue
        assert span.end_us == until
        assert span is plan[-1]
    assert [span.start_us for span in plan if not span.is_head] == sorted(
        span.start_us for span in plan if not span.is_head
    )
