"""LangGraph's serializer, without what could run code that somebody put into the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

from langgraph.checkpoint.serde.event_hooks import register_serde_event_listener
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from belaypin import UsageError

__all__ = ["StrictSerializer"]

_refused: ContextVar[list[str] | None] = ContextVar("_refused", default=None)


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's own msgpack, which builds none but known types, and says so.

    Known are LangGraph's and LangChain's own, those of the standard library, and ``types``: classes
    of your state. Pickle is off. ``loads_typed`` raises UsageError for a value of another type,
    where LangGraph would import and call what stands in the database, or hand out its parts
    instead; nothing is lost: name the type, and read again.
    """

    def __init__(self, types: Iterable[type] = ()) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=list(types) or None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value that ``dumps_typed`` was given."""
        refused: list[str] = []
        before = _refused.set(refused)
        try:
            value = super().loads_typed(data)
        finally:
            _refused.reset(before)
        if refused:
            raise UsageError(
                f"A checkpoint holds {refused[0]}, which may not be built unless you say so. If it "
                f"is a class of your graph's state, pass it: types=[{refused[0].split('.')[-1]}]. "
                f"If you don't know it, find out who wrote it."
            )
        return value


def _note(event: Mapping[str, Any]) -> None:
    refused = _refused.get()
    if refused is not None and event["kind"] in ("msgpack_blocked", "msgpack_method_blocked"):
        refused.append(f"{event['module']}.{event['name']}")


register_serde_event_listener(_note)
