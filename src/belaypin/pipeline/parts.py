"""What a pipeline is made of: the user's functions, each with what was said about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

import belaypin
from belaypin.fields import describe
from belaypin.times import Duration, duration_us

__all__ = ["Function", "Handler", "Limits", "Listener", "Source", "Watch", "limits_of"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Function:
    """A function of the user's: what it takes by position, and what it asks for by name.

    ``places`` are what it is given by position; parameters behind them are asked for by name, and
    must be among ``names``. Raises UsageError for a function that can't be called so.

    >>> def store(tx, post, entity): ...
    >>> Function(store, ("tx", "item"), ("entity", "kind")).wants
    frozenset({'entity'})
    """

    def __init__(
        self, function: Callable[..., Any], places: Sequence[str], names: Iterable[str] = ()
    ) -> None:
        if not callable(function):
            raise UsageErrorOf(function, places)
        self.call = function
        self.is_async = _is_async(function)
        self._name = getattr(function, "__name__", type(function).__name__)
        self.wants = self._asked(function, places, frozenset(names))

    def __repr__(self) -> str:
        return f"<{'async ' * self.is_async}function {self._name}>"

    def named(self, **values: Any) -> dict[str, Any]:
        """Those of the values that the function asks for by name."""
        return {name: value for name, value in values.items() if name in self.wants}

    def _asked(
        self, function: Callable[..., Any], places: Sequence[str], names: frozenset[str]
    ) -> frozenset[str]:
        parameters = list(inspect.signature(function).parameters.values())
        takes_all = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        by_place = [p for p in parameters if p.kind in _POSITIONAL][: len(places)]
        rest = {
            p.name: p
            for p in parameters
            if p not in by_place
            and p.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        }
        unknown = [n for n, p in rest.items() if n not in names and p.default is p.empty]
        if unknown or (len(by_place) < len(places) and not takes_all):
            wanted = f"({', '.join(places)})"
            extra = f", and may ask for {', '.join(sorted(names))} by name" if names else ""
            raise belaypin.UsageError(
                f"{self._name}{inspect.signature(function)} can't be called: it is given "
                f"{wanted} by position{extra}."
            )
        return frozenset(rest) & names


def UsageErrorOf(function: object, places: Sequence[str]) -> belaypin.UsageError:  # noqa: N802
    """What to say of something that is no function."""
    return belaypin.UsageError(
        f"{describe(function)} is no function: decorate one that takes ({', '.join(places)})."
    )


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How hard a source may be asked: calls a second, and calls at once; None: no limit."""

    rate: float | None = None
    concurrency: int | None = None

    def shared(self, workers: int) -> Limits:
        """The part of each of so many processes. Raises UsageError if there is not one call each."""
        if self.concurrency is not None and self.concurrency < workers:
            raise belaypin.UsageError(
                f"{workers} worker processes can't keep to concurrency={self.concurrency}: each "
                f"makes a call at a time. Use fewer processes, or the engine 'threads:{workers}'."
            )
        return Limits(
            rate=None if self.rate is None else self.rate / workers,
            concurrency=None if self.concurrency is None else self.concurrency // workers,
        )


class Handler(msgspec.Struct, frozen=True):
    """What is done with the fresh items of a stream: one by one, or all of a page together."""

    function: Function
    is_bulk: bool


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that is read in windows, page by page."""

    stream: str
    fetch: Function
    key: str | Callable[[Any], Any]
    since: Any
    until: datetime | Callable[[], datetime] | None
    options: dict[str, Any]
    paths: dict[str, str]
    fresh: dict[str, Any]
    retry: belaypin.Retry
    limits: Limits


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A document of an entity that is looked at, and handled when its content has changed."""

    stream: str
    fetch: Function
    options: dict[str, Any]
    revision: Callable[[Any], Any] | None
    retry: belaypin.Retry
    limits: Limits


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A stream of events that come by themselves."""

    stream: str
    events: Function
    settle: Duration
    reconnect: belaypin.Retry


def limits_of(rate: str | float | None, concurrency: int | None) -> Limits:
    """Read ``rate`` ("10/s", "600/m", or calls a second) and ``concurrency``. Raises UsageError.

    >>> limits_of("600/m", None).rate
    10.0
    """
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise belaypin.UsageError(
            f"concurrency must be a number, 1 or more, not {describe(concurrency)}."
        )
    return Limits(rate=None if rate is None else _rate(rate), concurrency=concurrency)


def _rate(rate: object) -> float:
    calls: object = rate
    per_s = 1.0
    if isinstance(rate, str):
        calls, _, unit = rate.partition("/")
        per_s = duration_us(unit if unit[:1].isdigit() else f"1{unit}", "rate") / 1_000_000
    try:
        found = float(calls) / per_s  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError):
        found = 0.0
    if not 0 < found < 1_000_000:
        raise belaypin.UsageError(
            f"rate must be like '10/s', '600/m' or a number of calls a second, not {describe(rate)}."
        )
    return found


def _is_async(function: Callable[..., Any]) -> bool:
    called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)
