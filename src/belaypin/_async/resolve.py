"""Users' functions may be plain or async: take the value of either."""

from __future__ import annotations

from inspect import isawaitable  # sync: from belaypin.calls import plain
from typing import Any

__all__ = ["resolved"]


async def resolved(value: Any) -> Any:
    """The value, awaited if need be."""
    return await value if isawaitable(value) else value  # sync: return plain(value)
