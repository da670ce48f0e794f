"""LangGraph checkpoints in a belaypin store: graphs that go on where they stood.

Needs ``langgraph-checkpoint``, which ``langgraph`` brings. Use ``BelaypinSaver`` with a store from
``belaypin.open`` and ``AsyncBelaypinSaver`` with one from ``belaypin.aopen``.
"""

from __future__ import annotations

from belaypin.integrations.langgraph.savers import AsyncBelaypinSaver, BelaypinSaver
from belaypin.integrations.langgraph.serde import StrictSerializer

__all__ = ["AsyncBelaypinSaver", "BelaypinSaver", "StrictSerializer"]
