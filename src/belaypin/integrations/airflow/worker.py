"""The backend for ``[workers] state_store_backend``: in the tasks' own processes."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk.configuration import conf
from airflow.sdk.state import AssetScope, BaseStoreBackend, TaskScope

from belaypin import UsageError
from belaypin.integrations.airflow.backend import StateBackend

__all__ = ["BelaypinWorkerStateBackend"]


class BelaypinWorkerStateBackend(StateBackend, BaseStoreBackend):
    """Task and asset state in the store at ``[belaypin] store``, written by the workers themselves.

    Airflow's database keeps a reference, which names the place. Airflow does not tell workers when
    a value expires, so here it stays until the task, or ``clear_on_success``, clears it.
    """

    @staticmethod
    def store_url() -> str | None:
        """What the configuration says."""
        url: str | None = conf.get("belaypin", "store", fallback=None)
        return url

    def serialize_task_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
        """Keep a value; returns what finds it again."""
        self.set(scope, key, json.dumps(value))
        return json.dumps([scope.dag_id, scope.run_id, scope.task_id, scope.map_index, key])

    def deserialize_task_state_store_from_ref(self, stored: str) -> Any:
        """The value that a reference stands for."""
        *scope, key = json.loads(stored)
        return _loaded(self.get(TaskScope(*scope), key), stored)

    def serialize_asset_state_store_to_ref(self, *, value: Any, key: str, scope: Any) -> str:
        """Keep a value; returns what finds it again."""
        self.set(scope, key, json.dumps(value))
        return json.dumps([scope.name, scope.uri, key])

    def deserialize_asset_state_store_from_ref(self, stored: str) -> Any:
        """The value that a reference stands for."""
        name, uri, key = json.loads(stored)
        return _loaded(self.get(AssetScope(name=name, uri=uri), key), stored)


def _loaded(value: str | None, reference: str) -> Any:
    if value is None:
        raise UsageError(
            f"Airflow has a reference to {reference}, and the store has no such value. Check that "
            f"[belaypin] store is the same on all workers; else set the key anew."
        )
    return json.loads(value)
