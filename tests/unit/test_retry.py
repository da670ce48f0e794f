"""The retry policy: its delays, what it covers, and what it refuses."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import belaypin
from belaypin import Retry, UsageError

policies = st.builds(
    Retry,
    max_attempts=st.integers(1, 2_000),
    backoff=st.floats(0, 1e9) | st.timedeltas(timedelta(), timedelta(days=10_000)),
    multiplier=st.floats(1, 1_000),
    max_backoff=st.floats(0, 1e9),
    jitter=st.floats(0, 1),
)


@given(policies, st.integers(1, 3_000), st.floats(0, 1))
def test_a_delay_is_bounded_and_ends_with_the_attempts(
    policy: Retry, attempt: int, chance: float
) -> None:
    delay_us = policy.delay_us(attempt, chance)
    if attempt >= policy.max_attempts:
        assert delay_us is None
    else:
        assert isinstance(policy.max_backoff, float)
        assert delay_us is not None
        assert 0 <= delay_us <= policy.max_backoff * 1_000_000 * (1 + policy.jitter) + 1


def test_delays_grow_by_the_multiplier_and_are_spread_by_chance() -> None:
    policy = Retry(backoff="2s", multiplier=3, max_backoff="20s", jitter=0.5)
    assert [policy.delay_us(n, 0.5) for n in (1, 2, 3, 4)] == [2e6, 6e6, 18e6, 20e6]
    assert (policy.delay_us(1, 0), policy.delay_us(1, 1)) == (1e6, 3e6)


def test_what_is_the_items_own_failure() -> None:
    policy = Retry(retry_on=(OSError,), give_up_on=(KeyError,))
    assert policy.covers(TimeoutError())
    assert policy.covers(KeyError())
    assert not policy.covers(ValueError())
    assert (policy.gives_up(KeyError()), policy.gives_up(OSError())) == (True, False)


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(),
        asyncio.CancelledError(),
        belaypin.Fenced("lost"),
        belaypin.StoreUnavailable("gone"),
        belaypin.StoreFull("full"),
        belaypin.UsageError("a wrong call"),
    ],
)
def test_what_ends_the_block_whatever_the_policy(error: BaseException) -> None:
    assert not Retry().covers(error)


def test_a_statement_that_is_refused_may_be_the_items_fault() -> None:
    assert Retry().covers(belaypin.SqlError("null in a column that is NOT NULL"))


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"max_attempts": True},
        {"max_attempts": 2.5},
        {"backoff": "soon"},
        {"backoff": -1},
        {"max_backoff": float("nan")},
        {"multiplier": 0.5},
        {"multiplier": float("inf")},
        {"multiplier": "2"},
        {"jitter": 1.5},
        {"jitter": float("nan")},
        {"retry_on": ValueError},
        {"retry_on": (BaseException,)},
        {"give_up_on": ["ValueError"]},
        {"isolate_after": 0},
        {"max_kills": None},
    ],
)
def test_a_policy_that_could_not_be_carried_out_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        Retry(**options)
