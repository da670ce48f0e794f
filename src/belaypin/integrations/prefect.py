"""Prefect tasks that run once for each input, whichever process runs them: cached in a belaypin store.

Needs ``prefect`` 3.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.filesystems import WritableFileSystem
from prefect.transactions import IsolationLevel

import belaypin
from belaypin import Lease, LeaseHeld, Store, UsageError
from belaypin.clock import jitter, monotonic_s, sleep_s

__all__ = ["Fingerprint", "LeaseLocks", "StoreStorage", "cached"]

PIPELINE = "prefect"
_POLL_S = (0.05, 0.25)

_stores: dict[tuple[int, str], Store] = {}
_opening = threading.Lock()


def cached(url: str, *, ignore: tuple[str, ...] = (), version: int = 0) -> CachePolicy:
    """A policy for ``@task(cache_policy=...)``: records, and who computes, in the store at ``url``.

    A task with the same inputs runs once: others, in any process, wait for it and take its result.
    ``ignore`` and ``version`` are as in ``Fingerprint``. The results lie where Prefect is told to
    put them: for the same store, save a ``StoreStorage`` once, ``StoreStorage(url=url).save("app")``,
    and pass ``result_storage="belaypin-store/app"``.
    """
    return Fingerprint(ignore=ignore, version=version).configure(
        key_storage=StoreStorage(url=url, kind="record"),
        lock_manager=LeaseLocks(url),
        isolation_level=IsolationLevel.SERIALIZABLE,
    )


@dataclass
class Fingerprint(CachePolicy):
    """A cache key from the task's name and ``belaypin.fingerprint`` of its inputs.

    It is the same on every machine and in every version of Python, and the order of a dict does
    not matter. The task counts by its module and function, not by its source: raise ``version``
    when a change of it is to run it again. ``ignore``: inputs that don't matter, such as clients.
    Raises UsageError for inputs that are not plain data.
    """

    ignore: tuple[str, ...] = ()
    version: int = field(default=0, kw_only=True)

    def compute_key(
        self, task_ctx: Any, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """The key of a task run."""
        content = {name: value for name, value in inputs.items() if name not in self.ignore}
        task = task_ctx.task.fn
        name = f"{task.__module__}.{task.__qualname__}"
        return belaypin.fingerprint([name, self.version, content]).replace(":", "-")

    def __sub__(self, other: str) -> Fingerprint:
        return Fingerprint(
            self.key_storage,
            self.isolation_level,
            self.lock_manager,
            ignore=(*self.ignore, other),
            version=self.version,
        )


class StoreStorage(WritableFileSystem):
    """Prefect's results (or records) as states of a belaypin store, at ``("prefect", path, kind)``.

    The bytes are Prefect's, made by the serializer that the task has: pick "json" rather than
    Prefect's default if others can write to the store, as loading a pickle runs code.
    """

    _block_type_name = "Belaypin Store"
    _block_type_slug = "belaypin-store"

    url: str
    """Where the store is."""
    kind: str = "result"
    """What is kept here: Prefect gives a result and its record the same path."""

    def read_path(self, path: str, **_: Any) -> bytes:
        """What was written to the path; ValueError if nothing was, as Prefect expects."""
        checkpoint = _store(self.url).load((PIPELINE, path, self.kind))
        if checkpoint is None:
            raise ValueError(f"Nothing is stored at {path!r}.")
        return base64.b85decode(checkpoint.state["content"])

    def write_path(self, path: str, content: bytes, **_: Any) -> None:
        """Store the bytes; durable when it returns."""
        state = {"content": base64.b85encode(content).decode()}
        _store(self.url).save((PIPELINE, path, self.kind), state)

    async def aread_path(self, path: str) -> bytes:
        """``read_path``, in a thread."""
        return await asyncio.to_thread(self.read_path, path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """``write_path``, in a thread."""
        await asyncio.to_thread(self.write_path, path, content)


class LeaseLocks:
    """Prefect's locks as leases: renewed while they are held, free when their holder has died."""

    def __init__(self, url: str) -> None:
        self.url = url

    def acquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """Take the lock of a key, within ``acquire_timeout`` seconds (None: whenever it is free).

        It is renewed until it is released, so ``hold_timeout``, a guard against holders that died,
        has nothing to do.
        """
        if self.is_lock_holder(key, holder):
            return True
        store = _store(self.url)
        deadline_s = None if acquire_timeout is None else monotonic_s() + acquire_timeout
        while True:
            lease = store.lease(PIPELINE, key, role="lock")
            try:
                lease.acquire()
            except LeaseHeld:
                if deadline_s is not None and monotonic_s() >= deadline_s:
                    return False
                sleep_s(jitter(*_POLL_S))
            else:
                _held[self.url, key] = (os.getpid(), holder, lease)
                return True

    async def aacquire_lock(
        self,
        key: str,
        holder: str,
        acquire_timeout: float | None = None,
        hold_timeout: float | None = None,
    ) -> bool:
        """``acquire_lock``, in a thread."""
        return await asyncio.to_thread(self.acquire_lock, key, holder, acquire_timeout)

    def release_lock(self, key: str, holder: str) -> None:
        """Give the lock back; ValueError if this holder has not got it."""
        if not self.is_lock_holder(key, holder):
            raise ValueError(f"No lock held by {holder} for transaction with key {key}")
        _held.pop((self.url, key))[2].release()

    def is_locked(self, key: str) -> bool:
        """Whether anybody has it now."""
        rows = _store(self.url).leases(pipeline=PIPELINE, where=_where(key))
        return any(row.state == "live" and row.key.entity == key for row in rows)

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder, in this process, has it."""
        pid, owner, _ = _held.get((self.url, key), (0, "", None))
        return (pid, owner) == (os.getpid(), holder)

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until nobody has it; False if that took more than ``timeout`` seconds."""
        deadline_s = None if timeout is None else monotonic_s() + timeout
        while self.is_locked(key):
            if deadline_s is not None and monotonic_s() >= deadline_s:
                return False
            sleep_s(jitter(*_POLL_S))
        return True

    async def await_for_lock(
        self,
        key: str,
        timeout: float | None = None,  # noqa: ASYNC109 (Prefect's name)
    ) -> bool:
        """``wait_for_lock``, in a thread."""
        return await asyncio.to_thread(self.wait_for_lock, key, timeout)


_held: dict[tuple[str, str], tuple[int, str, Lease]] = {}


def _store(url: str) -> Store:
    """This process's store: Prefect copies and pickles policies, and forks."""
    with _opening:
        known = (os.getpid(), url)
        if known not in _stores:
            _stores[known] = belaypin.open(url)
            atexit.register(_stores[known].close)
        return _stores[known]


def _where(key: str) -> str:
    if '"' in key:
        raise UsageError(f"A lock's key can't have quotation marks: {key!r}.")
    return f'entity:"{key}"'
