"""The clock module: the units that it promises."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from belaypin import clock

if TYPE_CHECKING:
    from belaypin.clock import Clock


def test_now_is_in_microseconds() -> None:
    system: Clock = clock.SystemClock()
    before = time.time()
    assert before - 0.001 <= system.now_us() / 1e6 <= time.time() + 0.001


def test_monotonic_and_sleep_are_in_seconds() -> None:
    start_s = clock.monotonic_s()
    clock.sleep_s(0.02)
    clock.sleep_s(0)
    clock.sleep_s(-1)
    assert 0.02 <= clock.monotonic_s() - start_s < 5


def test_unique_ids_are_128_bits_and_differ() -> None:
    ids = {clock.unique_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(text) == 32 and int(text, 16) >= 0 for text in ids)


def test_jitter_stays_between_its_bounds() -> None:
    drawn = [clock.jitter(1.0, 2.0) for _ in range(1000)]
    assert 1.0 <= min(drawn) < 1.2
    assert 1.8 < max(drawn) <= 2.0
