"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime

from belaypin.times import Duration, duration_us, from_us, to_us

__all__ = ["FakeClock"]

_START = datetime(2024, 1, 1, tzinfo=UTC)


class FakeClock:
    """Replaces the database's clock in every statement: ``belaypin.open(url, clock=FakeClock())``.

    So a test decides when a lease expires, without waiting. Heartbeats still beat by real time.

    >>> import belaypin
    >>> clock = FakeClock(datetime(2024, 5, 1, tzinfo=UTC))
    >>> with belaypin.open("sqlite:///:memory:", clock=clock) as store:
    ...     version = store.save("shop", {"pages": 3})
    ...     clock.advance("90m")
    ...     print(clock.now - store.load("shop").updated_at)
    1:30:00
    """

    def __init__(self, now: datetime = _START) -> None:
        self._now_us = to_us(now, "now")

    @property
    def now(self) -> datetime:
        """The time that this clock shows, aware, UTC."""
        return from_us(self._now_us)

    def now_us(self) -> int:
        """The time that this clock shows, in microseconds since 1970-01-01T00:00:00Z."""
        return self._now_us

    def advance(self, duration: Duration) -> None:
        """Let so much time pass: "90m", a timedelta, or a number of seconds."""
        self._now_us += duration_us(duration, "duration")

    def set(self, now: datetime) -> None:
        """Set the clock to an aware datetime, forward or back."""
        self._now_us = to_us(now, "now")
