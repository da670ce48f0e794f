"""Airflow's state store (Airflow 3.3 and newer) in a belaypin store.

In ``airflow.cfg``, for the API server, which all tasks' state then goes through::

    [state_store]
    backend = belaypin.integrations.airflow.BelaypinStateBackend
    [belaypin]
    store = postgresql:///app

or ``[workers] state_store_backend = belaypin.integrations.airflow.BelaypinWorkerStateBackend``, where
values go from the workers to the store themselves, and Airflow's own database gets a reference.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["BelaypinStateBackend", "BelaypinWorkerStateBackend"]

# A worker need not have Airflow's core, nor the API server its task SDK.
_HOMES = {"BelaypinStateBackend": "server", "BelaypinWorkerStateBackend": "worker"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
