"""Spans that are really traced: the only module that imports OpenTelemetry, once there is a tracer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from opentelemetry import trace

from belaypin.keys import Key
from belaypin.tracing import Span

__all__ = ["TracedSpan", "begin"]


def begin(tracer: Any, name: str, key: Key, **attributes: Any) -> TracedSpan:
    """Begin a span beneath the one that is current."""
    return TracedSpan(tracer, tracer.start_span(_PREFIX + name), key, attributes)


class TracedSpan(Span):
    """A span of OpenTelemetry, and those begun beneath it that have not ended."""

    __slots__ = ("_children", "_entered", "_has_ended", "_span", "_tracer")

    def __init__(self, tracer: Any, span: trace.Span, key: Key, attributes: dict[str, Any]) -> None:
        self._tracer = tracer
        self._span = span
        self._children: list[TracedSpan] = []
        self._entered = ExitStack()
        self._has_ended = False
        self.note(pipeline=key.pipeline, entity=key.entity, stream=key.stream or None, **attributes)

    def child(self, name: str, key: Key, **attributes: Any) -> Span:
        context = trace.set_span_in_context(self._span)
        begun = self._tracer.start_span(_PREFIX + name, context=context)
        child = TracedSpan(self._tracer, begun, key, attributes)
        self._children = [each for each in self._children if not each._has_ended]
        self._children.append(child)
        return child

    def note(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(_PREFIX + name, value)

    def event(self, name: str) -> None:
        self._span.add_event(_PREFIX + name)

    def enter(self) -> None:
        self._entered.enter_context(self.current())

    def end(self, error: BaseException | None = None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        for child in self._children:
            child.end()
        self._entered.close()
        # A generator that is left half-way is no failure.
        if error is not None and not isinstance(error, GeneratorExit):
            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.record_exception(error)
            self._span.set_status(trace.Status(trace.StatusCode.ERROR, str(error)))
        self._span.end()

    def current(self) -> AbstractContextManager[Any]:
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    @contextmanager
    def ending(self, error: BaseException | None) -> Iterator[None]:
        try:
            yield
        except BaseException as raised:
            self.end(raised)
            raise
        self.end(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end(error)


_PREFIX = "belaypin."
