# Generated from src/belaypin/_async/tenure.py by tools/generate_sync.py; do not edit.
"""A tenure: what a lease hands down to its windows, pages, batches and commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from belaypin._sync.work import OpenTransaction
from belaypin.programs.components import Components
from belaypin.programs.leases import Fence
from belaypin.tracing import LeaseTrace

__all__ = ["Tenure"]


class Tenure(NamedTuple):
    """How to write under one lease. ``fence`` raises once the lease is lost or released."""

    open_transaction: OpenTransaction
    fence: Callable[[], Fence]
    components: Components
    trace: LeaseTrace
    epoch: str = ""
    """Which store it is."""
