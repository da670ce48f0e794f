"""Time travel: earlier states, savepoints, the way back to them, and copies. Each act is audited."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TypeVar

from belaypin._async.audit import AsyncAudit
from belaypin._async.records import KeyLike
from belaypin.backends.base import AsyncTransaction
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.keys import MAX_PART_BYTES, Key
from belaypin.process import is_surely_dead
from belaypin.program import Program
from belaypin.programs import forking, history, rewinding, savepoints
from belaypin.programs.rewinding import BEGINNING, Act, Tally
from belaypin.programs.savepoints import SavepointRow
from belaypin.records.history import Difference, Forked, Rewound, RewoundStream, Savepoint, Version
from belaypin.times import to_us

__all__ = ["AsyncTravel"]

T = TypeVar("T")

Step = Callable[[Key], Program[list[RewoundStream]]]


class _OnlyTried(Exception):
    """Undoes a dry run."""


class AsyncTravel(AsyncAudit):
    """Back in time, for one Key, an entity, or each entity of a pipeline."""

    @abstractmethod
    def _open(self, *, write: bool = True) -> AbstractAsyncContextManager[AsyncTransaction]:
        """Open a transaction."""

    async def history(
        self, key: KeyLike, *, limit: int = 20, before: int | None = None
    ) -> list[Version]:
        """The states that a Key has and had, the newest first, as far as they are kept.

        ``before``: only versions below this one, to go on behind the last of an earlier call.
        ``store.load(key, version=n)`` returns one of them.
        """
        check_count("limit", limit, at_least=1)
        key = Key.of(key)
        rows = await self._run(history.versions(key, limit, before), write=False)
        return [row.at(key) for row in rows]

    async def diff(self, key: KeyLike, old: int, new: int | None = None) -> list[Difference]:
        """Where the state of version ``new`` (None: the present one) differs from that of ``old``.

        Both are compared as JSON data, in the shape that they were saved in. Raises UsageError
        for a version that is not kept, CorruptRecord for one that is damaged.
        """
        from belaypin.differences import NOTHING, pointer, walk

        key = Key.of(key)
        before = await self._run(history.data(key, old), write=False)
        after = await self._run(history.data(key, new), write=False)
        found = []
        for place in walk(before, after):
            path = pointer(place.path)
            if place.before is NOTHING:
                found.append(Difference(path, "added", None, place.after))
            elif place.after is NOTHING:
                found.append(Difference(path, "removed", place.before, None))
            else:
                found.append(Difference(path, "changed", place.before, place.after))
        return found

    async def repair(self, key: KeyLike) -> int | None:
        """Replace a damaged state by the newest one that can be read; returns its old version.

        The damaged bytes stay in ``history``. None if the state is sound: nothing is done then.
        Raises CorruptRecord if nothing readable is left.
        """
        return await self._run(history.repair(self._actor, Key.of(key)))

    async def savepoint(self, key: KeyLike, name: str, *, note: str = "") -> Savepoint:
        """Keep how an entity, or each entity of a pipeline, stands now, to ``rewind`` to it later.

        An entity is kept in one transaction, beside its live workers. A pipeline is taken entity
        by entity: if that is interrupted, call it again to go on. Raises UsageError if there is a
        whole savepoint of that name.
        """
        key = _not_a_stream(key, "A savepoint is of an entity or a pipeline")
        _check_name(name)
        if key.entity:
            return await self._run(self._save_one(key, name, note))
        savepoint = await self._run(savepoints.begin(key, name, note))
        entity = await self._after(key, savepoint.saved_to)
        while entity is not None:
            await self._run(savepoints.save_entity(savepoint, entity))
            entity = await self._after(key, entity)
        return await self._run(savepoints.finish(self._actor, savepoint))

    async def savepoints(self, key: KeyLike | None = None) -> list[Savepoint]:
        """The savepoints at a Key (None: all of them) and beneath it, the newest first."""
        where = None if key is None else _not_a_stream(key, "Savepoints are of entities")
        return await self._run(savepoints.listing(where), write=False)

    async def drop_savepoint(self, key: KeyLike, name: str) -> None:
        """Forget a savepoint: what only it kept may be merged and pruned again."""
        key = _not_a_stream(key, "A savepoint is of an entity or a pipeline")
        savepoint = await self._run(savepoints.mark_dropped(key, name))
        entity = key.entity if key.entity else await self._after(key, None)
        while entity is not None:
            await self._run(savepoints.drop_entity(savepoint, entity))
            entity = None if key.entity else await self._after(key, entity)
        await self._run(savepoints.discard(self._actor, savepoint))

    async def rewind(
        self, key: KeyLike, *, to: str | int, dry_run: bool = False, force: bool = False
    ) -> Rewound:
        """Take a Key back: to the savepoint of this name, or its state to the version of this number.

        An entity's ledger, coverage, counters, cursors, states and content hashes stand as they
        did at the savepoint; a pipeline's, entity by entity (if that is interrupted, call it again
        to go on). **Rows in your own tables stay as they are**: items that are forgotten are
        fetched, and handed to your code, again. Nothing of the store is deleted.

        Raises LeaseHeld while a worker is alive; with ``force`` it is fenced instead. ``dry_run``:
        do nothing, and return what would be done. Raises UsageError if there is no such savepoint,
        or it is not whole.
        """
        key = Key.of(key)
        if type(to) is int:
            act = await self._act(key, "rewind", to, force=force or not key.entity)
            taking = rewinding.take_version(act, key, to)
            return await self._each(key, act, lambda _: taking, dry_run=dry_run, one=key)
        _check_name(to)
        whole = savepoints.whole(Key(key.pipeline, key.entity), str(to))
        savepoint_id = (await self._run(whole, write=False)).savepoint_id
        act = await self._act(key, "rewind", to, force=force)
        return await self._each(
            key,
            act,
            lambda one: rewinding.rewind(act, one, savepoint_id),
            dry_run=dry_run,
            one=key if key.entity else None,
        )

    async def reset(self, key: KeyLike, *, dry_run: bool = False, force: bool = False) -> Rewound:
        """Take a stream, an entity or each entity of a pipeline back to its beginning.

        Nothing is known there any more, as if it had never run. The rest is as in ``rewind``.
        """
        key = Key.of(key)
        act = await self._act(key, "reset", None, force=force)
        return await self._each(
            key,
            act,
            lambda one: rewinding.rewind(act, one, BEGINNING),
            dry_run=dry_run,
            one=key if key.entity else None,
        )

    async def reopen(
        self,
        key: KeyLike,
        since: datetime,
        until: datetime,
        *,
        dry_run: bool = False,
        force: bool = False,
    ) -> Rewound:
        """Take the time [since, until) out of what is covered, so that ``windows`` fetches it again.

        Of a stream, or of every stream of an entity or a pipeline. The ledger is not touched: only
        items that it does not know are handed to your code. ``dry_run``, ``force`` and LeaseHeld
        are as in ``rewind``: a worker in the midst of that time would cover it without a fetch.
        """
        key = Key.of(key)
        start_us, end_us = to_us(since, "since"), to_us(until, "until")
        if start_us >= end_us:
            raise UsageError(f"since ({since}) must lie before until ({until}).")
        act = await self._act(key, "reopen", None, force=force)
        return await self._each(
            key,
            act,
            lambda one: rewinding.reopen(act, one, start_us, end_us),
            dry_run=dry_run,
            one=key if key.entity else None,
        )

    async def fork(self, key: KeyLike, new_key: KeyLike) -> Forked:
        """Copy an entity (or each entity of a pipeline) as it stands under a new name.

        States, history, ledger, coverage and cursors are copied; leases and savepoints are not.
        From then on the two know nothing of each other. A pipeline is copied entity by entity: if
        that is interrupted, call it again to go on; what is returned counts what this call copied.
        Raises UsageError if there is something at ``new_key`` already.
        """
        source = _not_a_stream(key, "An entity or a pipeline is forked")
        target = _not_a_stream(new_key, "An entity or a pipeline is forked")
        if source.depth != target.depth or source == target:
            raise UsageError(
                f"{source} can't be forked to {target}: name another entity for an entity, or "
                f"another pipeline for a pipeline."
            )
        if source.entity:
            copying = forking.copy_entity(source, target, whole=True, actor=self._actor)
            return Forked(source, target, 1, *await self._run(copying))
        entity = await self._after(source, await self._run(forking.begin(source, target)))
        entities = keys = items = 0
        while entity is not None:
            copied = await self._run(forking.copy_next(source, target, entity))
            entities += bool(entity)
            keys, items = keys + copied.keys, items + copied.items
            entity = await self._after(source, entity)
        forked = Forked(source, target, entities, keys, items)
        await self._run(forking.finish(self._actor, source, target, forked))
        return forked

    async def _act(self, key: Key, action: str, to: str | int | None, *, force: bool) -> Act:
        """Who may be passed over; refuses before anything is begun if somebody may not."""
        found = await self._run(savepoints.holders(key), write=False)
        dead = {holder.owner for holder in found if is_surely_dead(holder.owner)}
        if not force:
            savepoints.refuse(key, found, dead)
        return Act(self._actor, action, to, dead, force)

    async def _each(
        self,
        key: Key,
        act: Act,
        step: Step,
        *,
        dry_run: bool,
        one: Key | None,
    ) -> Rewound:
        """Do the step for ``one`` Key, or for each entity of the pipeline, in a transaction each."""
        tally = Tally(act, key, dry_run=dry_run)
        if one is not None:
            tally.add(await self._perform(step(one), dry_run=dry_run))
            return tally.report()
        entity = await self._after(key, None)
        while entity is not None:
            tally.add(await self._perform(step(Key(key.pipeline, entity)), dry_run=dry_run))
            entity = await self._after(key, entity)
        return tally.report()

    async def _perform(self, program: Program[T], *, dry_run: bool) -> T:
        try:
            async with self._open() as transaction:
                result = await transaction.run(program)
                if dry_run:
                    raise _OnlyTried(result)
        except _OnlyTried as tried:
            result = tried.args[0]
        return result

    async def _after(self, key: Key, entity: str | None) -> str | None:
        return await self._run(savepoints.next_entity(key.pipeline, entity), write=False)

    def _save_one(self, key: Key, name: str, note: str) -> Program[Savepoint]:
        savepoint: SavepointRow = yield from savepoints.begin(key, name, note)
        yield from savepoints.save_entity(savepoint, key.entity)
        return (yield from savepoints.finish(self._actor, savepoint))


def _not_a_stream(key: KeyLike, what: str) -> Key:
    found = Key.of(key)
    if found.stream:
        raise UsageError(f"{what}, and {found} is a stream: leave its last part out.")
    return found


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name or "\0" in name:
        raise UsageError(f"A savepoint has a name, such as 'before v2', not {describe(name)}.")
    if len(name) > MAX_PART_BYTES:
        raise UsageError(
            f"The name of a savepoint is too long: at most {MAX_PART_BYTES} characters."
        )
