"""What both backends are: Airflow's keys, in a belaypin store."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, Final

import belaypin
from belaypin import Store, UsageError, Work
from belaypin.clock import now_us
from belaypin.times import to_us

__all__ = ["StateBackend"]

PIPELINE: Final = "airflow"

_TABLE: Final = (
    """
    CREATE TABLE IF NOT EXISTS belaypin_airflow_task_state (
        dag_id TEXT NOT NULL,
        run_id TEXT NOT NULL,
        task_id TEXT NOT NULL,
        map_index BIGINT NOT NULL,
        name TEXT NOT NULL,
        value TEXT NOT NULL,
        expires_us BIGINT,
        PRIMARY KEY (dag_id, run_id, task_id, map_index, name)
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS belaypin_airflow_task_state_expires
    ON belaypin_airflow_task_state (expires_us)
    """,
)
# Two that make the tables at once would collide in PostgreSQL's catalogue.
_ALONE: Final = {"sqlite": "SELECT 1", "postgres": "SELECT pg_advisory_xact_lock(7021968211443)"}

_GET: Final = """
    SELECT value FROM belaypin_airflow_task_state
    WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ? AND name = ?
"""
_SET: Final = """
    INSERT INTO belaypin_airflow_task_state
        (dag_id, run_id, task_id, map_index, name, value, expires_us)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (dag_id, run_id, task_id, map_index, name) DO UPDATE
    SET value = EXCLUDED.value, expires_us = EXCLUDED.expires_us
"""
_DELETE: Final = """
    DELETE FROM belaypin_airflow_task_state
    WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ? AND name = ?
"""
_CLEAR: Final = """
    DELETE FROM belaypin_airflow_task_state
    WHERE dag_id = ? AND run_id = ? AND task_id = ? AND map_index = ?
"""
_CLEAR_MAPPED: Final = """
    DELETE FROM belaypin_airflow_task_state
    WHERE dag_id = ? AND run_id = ? AND task_id = ?
"""
_CLEAN_UP: Final = """
    DELETE FROM belaypin_airflow_task_state
    WHERE (dag_id, run_id, task_id, map_index, name) IN (
        SELECT dag_id, run_id, task_id, map_index, name FROM belaypin_airflow_task_state
        WHERE expires_us <= ?
        ORDER BY expires_us
        LIMIT 1000
    )
"""


class StateBackend(ABC):
    """Airflow's state store, for either side; a scope is a task's if it has a ``dag_id``.

    The session that Airflow passes is its own database's, and is left alone: what is set here is
    durable at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: tuple[int, Store] | None = None

    @staticmethod
    @abstractmethod
    def store_url() -> str | None:
        """The URL of the store, from the configuration."""

    def get(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        if not _is_task(scope):
            checkpoint = self._store.load(_asset_key(scope, key))
            has_value = checkpoint is not None and "value" in checkpoint.state
            return json.dumps(checkpoint.state["value"]) if checkpoint and has_value else None
        row = self._execute(_GET, (*_task(scope), key)).fetchone()
        return None if row is None else str(row[0])

    def set(
        self,
        scope: Any,
        key: str,
        value: str,
        *,
        expires_at: datetime | None = None,
        session: Any = None,
    ) -> None:
        if not _is_task(scope):
            self._store.save(_asset_key(scope, key), {"value": json.loads(value)})
            return
        expires_us = None if expires_at is None else to_us(expires_at, "expires_at")
        self._execute(_SET, (*_task(scope), key, value, expires_us))

    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        if _is_task(scope):
            self._execute(_DELETE, (*_task(scope), key))
        elif self.get(scope, key) is not None:
            self._store.save(_asset_key(scope, key), {})

    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        if _is_task(scope):
            scope_of = _task(scope)
            if all_map_indices:
                self._execute(_CLEAR_MAPPED, scope_of[:3])
            else:
                self._execute(_CLEAR, scope_of)
            return
        for key in self._asset_keys(scope):
            self.delete(scope, key)

    def cleanup(self) -> None:
        """Delete the tasks' expired state, a thousand rows in each transaction."""
        while self._execute(_CLEAN_UP, (now_us(),)).rowcount > 0:
            pass

    async def aget(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        return await asyncio.to_thread(self.get, scope, key)

    async def aset(
        self,
        scope: Any,
        key: str,
        value: str,
        *,
        expires_at: datetime | None = None,
        session: Any = None,
    ) -> None:
        await asyncio.to_thread(lambda: self.set(scope, key, value, expires_at=expires_at))

    async def adelete(self, scope: Any, key: str, *, session: Any = None) -> None:
        await asyncio.to_thread(self.delete, scope, key)

    async def aclear(
        self, scope: Any, *, all_map_indices: bool = False, session: Any = None
    ) -> None:
        await asyncio.to_thread(lambda: self.clear(scope, all_map_indices=all_map_indices))

    @property
    def _store(self) -> Store:
        """The store of this process: Airflow forks."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                url = self.store_url()
                if not url:
                    raise UsageError(
                        "Airflow does not say which store to use: set [belaypin] store in "
                        "airflow.cfg, or AIRFLOW__BELAYPIN__STORE, to a URL of a store."
                    )
                store = belaypin.open(url)
                with store.transaction() as tx:
                    _make_table(tx, store.dialect)
                self._opened = os.getpid(), store
            return self._opened[1]

    def _execute(self, sql: str, params: tuple[Any, ...]) -> belaypin.Result:
        store = self._store
        return store.execute(sql if store.dialect == "sqlite" else sql.replace("?", "%s"), params)

    def _asset_keys(self, scope: Any) -> list[str]:
        entity, after, keys = _entity(scope), None, list[str]()
        while True:
            page = self._store.streams(pipeline=PIPELINE, entity=entity, after=after)
            keys += [row.key.stream for row in page]
            if (after := page.next) is None:
                return keys


def _make_table(tx: Work, dialect: str) -> None:
    tx.execute(_ALONE[dialect])
    for statement in _TABLE:
        tx.execute(statement)


def _is_task(scope: Any) -> bool:
    return hasattr(scope, "dag_id")  # the core and the task SDK have a class of that name each


def _task(scope: Any) -> tuple[str, str, str, int]:
    return scope.dag_id, scope.run_id, scope.task_id, scope.map_index


def _asset_key(scope: Any, key: str) -> tuple[str, str, str]:
    return PIPELINE, _entity(scope), key


def _entity(scope: Any) -> str:
    """An asset by what this side knows of it."""
    for name in ("asset_id", "name", "uri"):
        if (value := getattr(scope, name)) is not None:
            return f"{name}:{value}"
    raise UsageError("An asset's state needs its id, its name or its URI.")
