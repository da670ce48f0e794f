"""The backend for ``[state_store] backend``: in the API server."""

from __future__ import annotations

from airflow.configuration import conf
from airflow.state import BaseStoreBackend

from belaypin.integrations.airflow.backend import StateBackend

__all__ = ["BelaypinStateBackend"]


class BelaypinStateBackend(StateBackend, BaseStoreBackend):
    """Task and asset state in the store at ``[belaypin] store``, instead of Airflow's database.

    The state of tasks is rows, which expire as Airflow says. An asset's is a state at the Key
    ``("airflow", asset, key)``, whose former versions are kept.
    """

    @staticmethod
    def store_url() -> str | None:
        """What the configuration says."""
        url: str | None = conf.get("belaypin", "store", fallback=None)
        return url
