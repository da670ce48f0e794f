"""What edges may ask the machine for: its environment. Nothing inside reads a setting."""

from __future__ import annotations

import os

__all__ = ["environment", "set_environment"]


def environment(name: str) -> str | None:
    """The environment variable ``name``; None if it is not set, or empty."""
    return os.environ.get(name) or None


def set_environment(name: str, value: str) -> None:
    """Set a variable for this process and those that it starts from now on."""
    os.environ[name] = value
