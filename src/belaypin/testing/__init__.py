"""The proof kit: what shows that a store, or a pipeline on it, keeps its promises.

``FakeClock`` stands in for the database's clock. ``conformance`` holds the checks that every
backend must pass. ``explorer`` runs workers in every order and crashes them before every statement;
``sigkill`` kills a pipeline of yours again and again, and lets it resume.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from belaypin.testing.clock import FakeClock

if TYPE_CHECKING:
    from belaypin.testing import conformance, explorer, sigkill

__all__ = ["FakeClock", "conformance", "explorer", "sigkill"]


def __getattr__(name: str) -> Any:
    # Each is loaded when it is asked for: most users want the clock only.
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
