"""What keeps a drill from judging anything; the message says what to do."""

from __future__ import annotations

__all__ = ["CannotDrill", "NotDeterministic"]


class CannotDrill(Exception):
    """Fix the call or the machine: no copy can be made, the pipeline fails, or does nothing."""


class NotDeterministic(CannotDrill):
    """Two runs that nobody disturbed differ, so a run under kills can't be judged by them."""
