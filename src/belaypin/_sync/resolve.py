# Generated from src/belaypin/_async/resolve.py by tools/generate_sync.py; do not edit.
"""Users' functions may be plain or async: take the value of either."""

from __future__ import annotations

from typing import Any

from belaypin.calls import plain

__all__ = ["resolved"]


def resolved(value: Any) -> Any:
    """The value, awaited if need be."""
    return plain(value)
