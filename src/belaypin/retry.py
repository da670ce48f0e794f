"""Retry: how often an item that fails is tried again, after how long, and when it is put aside.

Pure: chance is an argument, and delays are numbers; nothing here reads a clock or waits.
"""

from __future__ import annotations

import msgspec

from belaypin.errors import BelaypinError, SqlError, UsageError
from belaypin.fields import describe
from belaypin.times import Duration, duration_us

__all__ = ["Retry"]

ExceptionTypes = tuple[type[Exception], ...]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of an item that fails: when it is tried again, and when it is quarantined.

    The n-th failure is followed by a pause of ``backoff * multiplier ** (n - 1)``, at most
    ``max_backoff``, shortened or lengthened at random by up to the fraction ``jitter``, so that
    what failed together does not come back together. After ``max_attempts`` failures in all, or
    at once after an error of ``give_up_on``, the item is quarantined. An exception that is neither
    in ``retry_on`` nor in ``give_up_on`` is not the item's: it ends the block, as does every error
    of belaypin itself but SqlError (a lost lease or database would fail every item).

    ``isolate_after``: how often a process may die at one page before its items are handed out one
    by one (None: never); ``max_kills``: how many processes a single item may kill before it is
    quarantined.

    Raises UsageError for a policy that could never be carried out.

    >>> policy = Retry(backoff="1s", max_attempts=4, jitter=0)
    >>> [policy.delay_us(attempt, chance=0.5) for attempt in (1, 2, 3, 4)]
    [1000000, 2000000, 4000000, None]
    """

    max_attempts: int = 5
    backoff: Duration = "1s"
    multiplier: float = 2.0
    max_backoff: Duration = "5m"
    jitter: float = 0.1
    retry_on: ExceptionTypes = (Exception,)
    give_up_on: ExceptionTypes = ()
    isolate_after: int | None = 3
    max_kills: int = 3

    def __post_init__(self) -> None:
        """Refuse what could never be carried out."""
        for name in ("max_attempts", "isolate_after", "max_kills"):
            value = getattr(self, name)
            is_never = value is None and name == "isolate_after"
            if not is_never and (type(value) is not int or value < 1):
                raise UsageError(f"{name} must be a number, 1 or more, not {describe(value)}.")
        duration_us(self.backoff, "backoff")
        duration_us(self.max_backoff, "max_backoff")
        if not _is_number(self.multiplier) or not 1 <= self.multiplier <= 1_000:
            raise UsageError(f"multiplier must be 1 to 1000, not {describe(self.multiplier)}.")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise UsageError(f"jitter is a fraction, 0 to 1, not {describe(self.jitter)}.")
        _check_types("retry_on", self.retry_on)
        _check_types("give_up_on", self.give_up_on)

    def delay_us(self, attempt: int, chance: float) -> int | None:
        """How long to wait after the ``attempt``-th failure (from 1); None: give up.

        ``chance`` is a random number between 0 and 1.
        """
        if attempt >= self.max_attempts:
            return None
        longest_us = duration_us(self.max_backoff, "max_backoff")
        try:
            grown_us = duration_us(self.backoff, "backoff") * self.multiplier ** (attempt - 1)
        except OverflowError:
            grown_us = longest_us
        spread = 1 + self.jitter * (2 * chance - 1)
        return round(min(grown_us, longest_us) * spread)

    def covers(self, error: BaseException) -> bool:
        """Whether this failure is the item's own, so that the others may go on without it.

        >>> Retry().covers(ValueError("no such user")), Retry().covers(KeyboardInterrupt())
        (True, False)
        """
        if isinstance(error, BelaypinError) and not isinstance(error, SqlError):
            return False
        return isinstance(error, (*self.retry_on, *self.give_up_on))

    def gives_up(self, error: BaseException) -> bool:
        """Whether this failure will not go away by itself, so that trying again is of no use."""
        return isinstance(error, self.give_up_on)


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _check_types(name: str, value: object) -> None:
    if not isinstance(value, tuple) or not all(
        isinstance(each, type) and issubclass(each, Exception) for each in value
    ):
        raise UsageError(
            f"{name} must be a tuple of exception classes (of Exception, as KeyboardInterrupt and "
            f"cancellation are no failures of an item), not {describe(value)}."
        )
