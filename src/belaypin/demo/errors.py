"""What can keep the demo from proving anything."""

from __future__ import annotations

__all__ = ["CANNOT_RUN", "CannotRun", "DemoError", "MinerFailed"]

CANNOT_RUN = 2
"""The miner's exit code for `CannotRun`."""


class DemoError(Exception):
    """Base of what stops the demo; the message says what to do."""


class CannotRun(DemoError):
    """Fix the call or the machine: no such repository, no git, a store that cannot be used."""


class MinerFailed(DemoError):
    """Read the message: the miner ended by an error of its own, so nothing was proven."""
