"""Threads: the checkpoints of LangGraph's threads in a store's database, each call one transaction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import groupby
from typing import Any

from belaypin import AsyncStore, AsyncWork, UsageError
from belaypin.integrations.langgraph import tables
from belaypin.integrations.langgraph.shapes import (
    Draft,
    Place,
    Query,
    Row,
    Whole,
    config_of,
    expendable,
    metadata_of,
    rows_of_writes,
    tuple_of,
)

__all__ = ["AsyncThreads"]

_PAGE = 50
_MAKING = "the tables"


class AsyncThreads:
    """What a saver does, for the serializer that it has at the time."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._sql = tables.Statements(store.dialect)
        self._has_tables = False

    async def put(self, serde: Any, config: Any, checkpoint: Any, metadata: Any, new: Any) -> Any:
        """Store a checkpoint whole, with its values, or nothing of it."""
        draft = Draft(serde, config, checkpoint, metadata, new)
        row = draft.row
        await self._make_tables()
        async with self._store.transaction() as tx:
            await tx.execute(self._sql.share, _lock(row["thread_id"]))
            parent = (await tx.execute(self._sql(tables.CHANNELS), row)).fetchone()
            draft.follow(parent[0] if parent else None)
            values = [
                {"thread_id": row["thread_id"], "digest": digest, "payload": payload}
                for digest, payload in draft.values.items()
            ]
            if values:
                await tx.executemany(self._sql(tables.ADD_VALUE), values)
            await tx.execute(self._sql(tables.PUT), row)
        return config_of(row["thread_id"], row["ns"], row["checkpoint_id"])

    async def put_writes(
        self,
        serde: Any,
        config: Any,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> None:
        """Store what a task wrote: all of it, or nothing."""
        rows = rows_of_writes(serde, config, writes, task_id, task_path)
        await self._make_tables()
        async with self._store.transaction() as tx:
            await tx.executemany(self._sql(tables.ADD_WRITE), rows)

    async def get(self, serde: Any, config: Any) -> Any:
        """The checkpoint that the config means, as of one moment; None if there is none."""
        place = Place.of(config)
        sql = self._sql(tables.NEWEST if place.checkpoint_id is None else tables.GET)
        await self._make_tables()
        async with self._store.transaction(read_only=True) as tx:
            rows = [Row(*row) for row in await tx.execute(sql, place._asdict())]
            found = await self._whole(tx, rows)
        return tuple_of(serde, found[0]) if found else None

    async def pages(self, serde: Any, query: Query, limit: int | None) -> AsyncIterator[list[Any]]:
        """The checkpoints that fit, newest first; each page as of one moment."""
        await self._make_tables()
        params = {**query.params, "page": _PAGE}
        left = limit
        while left is None or left > 0:
            async with self._store.transaction(read_only=True) as tx:
                sql = self._sql.listing([name for name in tables.CONDITIONS if name in params])
                rows = [Row(*row) for row in await tx.execute(sql, params)]
                fitting = [row for row in rows if query.fits(metadata_of(serde, row))][:left]
                found = await self._whole(tx, fitting)
            yield [tuple_of(serde, whole) for whole in found]
            if len(rows) < _PAGE:
                return
            left = None if left is None else left - len(found)
            thread_id, ns, checkpoint_id = rows[-1][:3]
            params |= {"after_id": checkpoint_id, "after_thread": thread_id, "after_ns": ns}

    async def delete(self, thread_id: str) -> None:
        """Delete all that a thread has."""
        await self._make_tables()
        async with self._store.transaction() as tx:
            await self._delete_thread(tx, thread_id)

    async def delete_for_runs(self, run_ids: Iterable[str]) -> None:
        """Delete what these runs have stored, a thread in one transaction."""
        runs = {str(run_id) for run_id in run_ids}
        await self._make_tables()
        sql = self._sql(tables.THREADS_OF_RUNS)
        async with self._store.transaction(read_only=True) as tx:
            threads = (await tx.execute(sql, {"run_ids": json.dumps(sorted(runs))})).rows
        for (thread_id,) in threads:
            async with self._store.transaction() as tx:
                await tx.execute(self._sql.lock, _lock(thread_id))
                rows = await tx.execute(self._sql(tables.OF_THREAD), {"thread_id": thread_id})
                doomed = [
                    (ns, checkpoint_id) for ns, checkpoint_id, _, run, *_ in rows if run in runs
                ]
                await self._delete(tx, thread_id, doomed)

    async def prune(self, serde: Any, thread_ids: Iterable[str], strategy: str) -> None:
        """Keep the newest checkpoint of each namespace, or none; a thread in one transaction."""
        if strategy not in ("keep_latest", "delete"):
            raise UsageError(f'strategy must be "keep_latest" or "delete", not {strategy!r}.')
        await self._make_tables()
        for thread_id in map(str, thread_ids):
            async with self._store.transaction() as tx:
                if strategy == "delete":
                    await self._delete_thread(tx, thread_id)
                    continue
                await tx.execute(self._sql.lock, _lock(thread_id))
                found = await tx.execute(self._sql(tables.OF_THREAD), {"thread_id": thread_id})
                rows = [
                    Row(thread_id, ns, checkpoint_id, parent_id, channels, metadata, b"")
                    for ns, checkpoint_id, parent_id, _, channels, metadata in found
                ]
                await self._delete(tx, thread_id, expendable(serde, rows))

    async def copy(self, source: str, target: str) -> None:
        """Give ``target`` all that ``source`` has; what it has already stays."""
        await self._make_tables()
        async with self._store.transaction() as tx:
            for thread_id in sorted({source, target}):
                await tx.execute(self._sql.lock, _lock(thread_id))
            for text in tables.COPY:
                await tx.execute(self._sql(text), {"source": source, "target": target})

    async def _whole(self, tx: AsyncWork, rows: Sequence[Row]) -> list[Whole]:
        """These checkpoints with their values and writes, in the same order."""
        whole: dict[Row, Whole] = {}
        by_thread = sorted(rows, key=lambda row: row.thread_id)
        for thread_id, group in groupby(by_thread, lambda row: row.thread_id):
            these = list(group)
            names = {
                "thread_id": thread_id,
                "digests": json.dumps(sorted({digest for row in these for digest in row.digests})),
                "checkpoints": json.dumps(sorted({row.checkpoint_id for row in these})),
            }
            values = dict((await tx.execute(self._sql(tables.VALUES), names)).rows)
            writes: dict[tuple[str, str], list[Any]] = {}
            for ns, checkpoint_id, *write in await tx.execute(self._sql(tables.WRITES), names):
                writes.setdefault((ns, checkpoint_id), []).append(tuple(write))
            for row in these:
                whole[row] = Whole(row, values, writes.get((row.ns, row.checkpoint_id), []))
        return [whole[row] for row in rows]

    async def _delete_thread(self, tx: AsyncWork, thread_id: str) -> None:
        await tx.execute(self._sql.lock, _lock(thread_id))
        for text in tables.DELETE_THREAD:
            await tx.execute(self._sql(text), {"thread_id": thread_id})

    async def _delete(
        self, tx: AsyncWork, thread_id: str, places: Sequence[tuple[str, str]]
    ) -> None:
        """Delete these checkpoints, and the values that no other one names."""
        if not places:
            return
        doomed = [{"thread_id": thread_id, "ns": ns, "checkpoint_id": i} for ns, i in places]
        for text in tables.DELETE:
            await tx.executemany(self._sql(text), doomed)
        of_thread = {"thread_id": thread_id}
        left = await tx.execute(self._sql(tables.OF_THREAD), of_thread)
        named = {digest for row in left for _, digest in json.loads(row[4]).values()}
        stored = {digest for (digest,) in await tx.execute(self._sql(tables.DIGESTS), of_thread)}
        if unnamed := [{**of_thread, "digest": digest} for digest in stored - named]:
            await tx.executemany(self._sql(tables.DROP_VALUE), unnamed)

    async def _make_tables(self) -> None:
        if not self._has_tables:
            async with self._store.transaction() as tx:
                await tx.execute(self._sql.lock, _lock(_MAKING))
                for text in self._sql.tables:
                    await tx.execute(text)
            self._has_tables = True


def _lock(name: str) -> dict[str, Any]:
    return {"lock": tables.lock_of(name)}
