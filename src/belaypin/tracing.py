"""Spans of OpenTelemetry for what a lease does. Without a tracer each call here does nothing.

A lease and a commit are the current span of their ``with`` block, a page that of its fetch: what
the user's own libraries trace lies beneath them. A window and a page last while a generator is
suspended, so they are never made current there: a context must be left where it was entered.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from belaypin.errors import MissingDriver, UsageError
from belaypin.fields import describe
from belaypin.keys import Key

__all__ = ["NO_SPAN", "LeaseTrace", "Span", "check_tracer"]


class Span(AbstractContextManager["Span"]):
    """A span that was never begun: the base of those that were. In a ``with`` it ends with that."""

    __slots__ = ()

    def child(self, name: str, key: Key, **attributes: Any) -> Span:
        """Begin a span beneath this one, about ``key``."""
        return self

    def note(self, **attributes: Any) -> None:
        """Set attributes; those that are None are left out."""

    def event(self, name: str) -> None:
        """Something that happened at this moment."""

    def enter(self) -> None:
        """Make it the current span, until it ends."""

    def end(self, error: BaseException | None = None) -> None:
        """End it, and what was begun beneath it; only the first time counts."""

    def current(self) -> AbstractContextManager[Any]:
        """Make it the current span of a block."""
        return self

    def ending(self, error: BaseException | None) -> AbstractContextManager[Any]:
        """End it after a block, with what that raises, else with ``error``."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass


NO_SPAN = Span()


class LeaseTrace:
    """The spans of one lease: ``span`` is that of its present term."""

    def __init__(self, tracer: Any, key: Key, role: str) -> None:
        self.span = NO_SPAN
        self._tracer = tracer
        self._key = key
        self._role = role

    def begin(self) -> Span:
        """Begin a term; one that ends before the lease is taken (LeaseHeld) is a span as well."""
        if self._tracer is not None:
            from belaypin.spans import begin

            self.span = begin(self._tracer, "lease", self._key, role=self._role)
        return self.span


def check_tracer(tracer: object) -> None:
    """Raise UsageError or MissingDriver unless ``tracer`` can be used, or is None."""
    if tracer is None:
        return
    if find_spec("opentelemetry") is None:
        raise MissingDriver(
            "tracer= needs opentelemetry-api, which is not installed. Run: pip install "
            "'belaypin[metrics]'"
        )
    if not callable(getattr(tracer, "start_span", None)):
        raise UsageError(
            f"tracer= must be a tracer of OpenTelemetry, not {describe(tracer)}: pass "
            f"opentelemetry.trace.get_tracer('my-pipeline')."
        )
