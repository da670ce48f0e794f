"""The drill: the user's own pipeline under SIGKILL on copies of its store, proven from the outside."""

from __future__ import annotations

from belaypin.drill.comparing import Difference
from belaypin.drill.errors import CannotDrill, NotDeterministic
from belaypin.drill.running import Options, Outcome, Watcher, drill

__all__ = [
    "CannotDrill",
    "Difference",
    "NotDeterministic",
    "Options",
    "Outcome",
    "Watcher",
    "drill",
]
