"""What edges may ask the machine for: its environment. Nothing inside reads a setting."""

from __future__ import annotations

import os

__all__ = ["environment"]


def environment(name: str) -> str | None:
    """The environment variable ``name``; None if it is not set, or empty."""
    return os.environ.get(name) or None
