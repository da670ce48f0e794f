"""How fast a source may be asked, and what becomes of a fetch that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

import belaypin
from belaypin.pipeline.pace import Pace, retry_after_s
from belaypin.pipeline.parts import limits_of
from belaypin.pipeline.stopping import Stop, Stopped

RETRY = belaypin.Retry(backoff="1ms", max_attempts=3, jitter=0)


class Answer(Exception):
    """As httpx and requests raise for a status: with a response that has headers."""

    def __init__(self, **headers: str) -> None:
        self.response = type("Response", (), {"headers": headers})()


def failing(times: int, error: Exception) -> Callable[[], int]:
    calls = 0

    def ask() -> int:
        nonlocal calls
        calls += 1
        if calls <= times:
            raise error
        return calls

    return ask


def test_a_rate_is_kept_by_all_threads_together() -> None:
    pace, stop = Pace(limits_of("50/s", None)), Stop()
    begun_s = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: pace.call(lambda: 1, RETRY, stop), range(11)))
    assert time.monotonic() - begun_s >= 0.19


def test_so_many_calls_at_once_and_no_more() -> None:
    pace, stop = Pace(limits_of(None, 2)), Stop()
    lock, now, most = threading.Lock(), 0, 0

    def ask() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _: pace.call(ask, RETRY, stop), range(12)))
    assert most == 2


def test_a_call_that_fails_is_made_again_as_the_policy_says() -> None:
    pace, stop = Pace(limits_of(None, None)), Stop()
    assert pace.call(failing(2, OSError("reset")), RETRY, stop) == 3
    with pytest.raises(OSError, match="reset"):
        pace.call(failing(3, OSError("reset")), RETRY, stop)
    fussy = belaypin.Retry(backoff="1ms", give_up_on=(KeyError,))
    with pytest.raises(KeyError):
        pace.call(failing(1, KeyError("no such user")), fussy, stop)


def test_retry_after_holds_up_all_calls() -> None:
    pace, stop = Pace(limits_of(None, None)), Stop()
    begun_s = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        told = threads.submit(pace.call, failing(1, Answer(**{"Retry-After": "0.3"})), RETRY, stop)
        time.sleep(0.05)
        other = threads.submit(pace.call, time.monotonic, RETRY, stop)
        assert told.result() == 2
        assert other.result() - begun_s >= 0.29


def test_a_wait_ends_when_it_is_time_to_stop() -> None:
    pace, stop = Pace(limits_of(None, None)), Stop()
    threading.Timer(0.1, stop.set).start()
    begun_s = time.monotonic()
    with pytest.raises(Stopped):
        pace.call(failing(9, Answer(**{"Retry-After": "60"})), RETRY, stop)
    assert time.monotonic() - begun_s < 10


def test_the_end_of_a_slice_does_not_cut_off_the_tries_of_a_fetch() -> None:
    pace, whole = Pace(limits_of(None, None)), Stop()
    over = Stop(time.monotonic(), parent=whole, is_slice=True)
    with pytest.raises(OSError, match="reset"):
        pace.call(failing(9, OSError("reset")), RETRY, over)
    whole.set()
    with pytest.raises(Stopped):
        pace.call(failing(9, OSError("reset")), RETRY, over)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7.0), ("-3", 0.0), ("999999", 3600.0), ("soon", None), ("", None), ("nan", None)],
)
def test_retry_after_in_seconds(told: str, seconds: float | None) -> None:
    assert retry_after_s(Answer(**{"Retry-After": told})) == seconds


def test_retry_after_as_a_date() -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)
    found = retry_after_s(Answer(**{"Retry-After": format_datetime(at, usegmt=True)}))
    assert found is not None
    assert 50 < found <= 100


def test_errors_without_an_answer_tell_no_time() -> None:
    assert retry_after_s(OSError("reset")) is None
    assert retry_after_s(Answer()) is None


@pytest.mark.parametrize("wrong", ["fast", "0/s", "10/", "/s", "10/parsec", -1, 0])
def test_a_rate_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(belaypin.UsageError):
        limits_of(wrong, None)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True])
def test_a_concurrency_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(belaypin.UsageError, match="concurrency"):
        limits_of(None, wrong)


def test_processes_share_the_limits_or_are_refused() -> None:
    shared = limits_of("10/s", 4).shared(2)
    assert (shared.rate, shared.concurrency) == (5.0, 2)
    with pytest.raises(belaypin.UsageError, match="can't keep to concurrency=1"):
        limits_of(None, 1).shared(2)
