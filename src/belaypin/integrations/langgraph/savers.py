"""The savers: what LangGraph calls, in both colours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from belaypin import AsyncStore, Store, UsageError
from belaypin.clock import unique_id
from belaypin.integrations.langgraph._async.threads import AsyncThreads
from belaypin.integrations.langgraph._sync.threads import Threads
from belaypin.integrations.langgraph.serde import StrictSerializer
from belaypin.integrations.langgraph.shapes import Query

__all__ = ["AsyncBelaypinSaver", "BelaypinSaver"]


class _Saver(BaseCheckpointSaver):
    def __init__(self, serde: Any, types: Iterable[type]) -> None:
        types = list(types)
        if serde is not None and types:
            raise UsageError("Pass types or a serde of your own that knows them, not both.")
        super().__init__(serde=StrictSerializer(types) if serde is None else serde)

    def get_next_version(self, current: Any, channel: None = None) -> str:
        """A version that is above ``current``, and that no fork of this checkpoint gets too."""
        number = int(str(current).partition(".")[0]) if current is not None else 0
        return f"{number + 1:032}.{unique_id()[:16]}"


class BelaypinSaver(_Saver):
    """LangGraph's checkpoints in the database of a ``belaypin.Store``.

    ``types``: classes of your own that the graph's state holds, dataclasses or pydantic models for
    example. ``serde``: a serializer of your own instead. The async methods run in threads, so a
    graph may be invoked either way. Safe for threads and processes; the store stays yours to close.
    """

    def __init__(
        self, store: Store, *, types: Iterable[type] = (), serde: Any | None = None
    ) -> None:
        if not isinstance(store, Store):
            raise UsageError("BelaypinSaver needs a store from belaypin.open().")
        super().__init__(serde, types)
        self._threads = Threads(store)

    def get_tuple(self, config: Any) -> Any:
        return self._threads.get(self.serde, config)

    def list(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: Any = None,
        limit: int | None = None,
    ) -> Iterator[Any]:
        for page in self._threads.pages(self.serde, Query.of(config, filter, before), limit):
            yield from page

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return self._threads.put(self.serde, config, checkpoint, metadata, new_versions)

    def put_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        self._threads.put_writes(self.serde, config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self._threads.delete(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        self._threads.delete_for_runs(run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        self._threads.copy(str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        self._threads.prune(self.serde, thread_ids, strategy)

    async def aget_tuple(self, config: Any) -> Any:
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[Any]:
        pages = self._threads.pages(self.serde, Query.of(config, filter, before), limit)
        while (page := await asyncio.to_thread(next, pages, None)) is not None:
            for found in page:
                yield found

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))


class AsyncBelaypinSaver(_Saver):
    """``BelaypinSaver`` for asyncio, on a ``belaypin.AsyncStore``; for ``ainvoke`` and its like."""

    def __init__(
        self, store: AsyncStore, *, types: Iterable[type] = (), serde: Any | None = None
    ) -> None:
        if not isinstance(store, AsyncStore):
            raise UsageError("AsyncBelaypinSaver needs a store from belaypin.aopen().")
        super().__init__(serde, types)
        self._threads = AsyncThreads(store)

    async def aget_tuple(self, config: Any) -> Any:
        return await self._threads.get(self.serde, config)

    async def alist(
        self,
        config: Any,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 (LangGraph's name)
        before: Any = None,
        limit: int | None = None,
    ) -> AsyncIterator[Any]:
        async for page in self._threads.pages(self.serde, Query.of(config, filter, before), limit):
            for found in page:
                yield found

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        return await self._threads.put(self.serde, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        await self._threads.put_writes(self.serde, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await self._threads.delete(str(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._threads.delete_for_runs(run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._threads.copy(str(source_thread_id), str(target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        await self._threads.prune(self.serde, thread_ids, strategy)

    def get_tuple(self, config: Any) -> Any:
        raise _needs_ainvoke()

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        raise _needs_ainvoke()


def _needs_ainvoke() -> UsageError:
    return UsageError(
        "This saver is for asyncio: use ainvoke, aget_state and their like, or give the graph a "
        "BelaypinSaver with a store from belaypin.open()."
    )
