"""Failures: look at the items that were put aside, and replay, skip or quarantine them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from belaypin._async.records import KeyLike
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.ids import check_new_ids, extract_ids
from belaypin.keys import Key
from belaypin.program import Program
from belaypin.programs import disposal
from belaypin.programs.disposal import Filter
from belaypin.records.failure import Failure, Status, id_text

if TYPE_CHECKING:
    from belaypin.records.failure import FailureGroups

__all__ = ["AsyncFailures"]

T = TypeVar("T")

_BATCH = 200
_NEWEST = 2**63 - 1


class AsyncFailures(ABC):
    """What a person does about items that failed. Each act is noted in the audit."""

    @property
    @abstractmethod
    def _actor(self) -> str:
        """Who acts, as the audit names them."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def failures(
        self,
        pipeline: str | None = None,
        entity: str | None = None,
        stream: str | None = None,
        *,
        status: Status | None = None,
        error: str | None = None,
        limit: int = 100,
        after: int = 0,
    ) -> list[Failure]:
        """The items that were put aside, oldest first, without their payloads.

        ``error``: how the error's text begins, such as "ValueError". ``after``: go on behind the
        failure of that ``failure_id``.
        """
        check_count("limit", limit, at_least=1)
        where = Filter.of(pipeline, entity, stream, status, error)
        return await self._run(disposal.listed(where, after, limit), write=False)

    async def failure_groups(
        self,
        pipeline: str | None = None,
        entity: str | None = None,
        stream: str | None = None,
        *,
        status: Status | None = None,
        error: str | None = None,
        limit: int = 5_000,
        before: int | None = None,
    ) -> FailureGroups:
        """The failures that fit, in groups by the class of their error, the largest first.

        Looks at the newest ``limit`` failures of the store, so that it answers at once however many
        there are; ``before``: go on with those numbered below the ``next`` of the call before.
        """
        from belaypin.programs import grouping

        check_count("limit", limit, at_least=1)
        where = Filter.of(pipeline, entity, stream, status, error)
        number = _NEWEST if before is None else before
        return await self._run(grouping.groups(where, number, limit), write=False)

    async def failure(self, failure_id: int) -> Failure | None:
        """One item that was put aside, with its payload; None if it is not any more.

        Raises CorruptRecord if the payload is damaged.
        """
        return await self._run(disposal.read(failure_id), write=False)

    async def replay(
        self,
        pipeline: str | None = None,
        entity: str | None = None,
        stream: str | None = None,
        *,
        failure_id: int | None = None,
        status: Status | None = None,
        error: str | None = None,
    ) -> int:
        """Have failed items tried again, with all their attempts; returns how many.

        Name one, or what to choose by. The next ``lease.windows`` of their stream
        hands them out first.
        """
        chosen = _Chosen(self, failure_id, Filter.of(pipeline, entity, stream, status, error))
        return await chosen.each(lambda found: disposal.replay(self._actor, found))

    async def skip(
        self,
        pipeline: str | None = None,
        entity: str | None = None,
        stream: str | None = None,
        *,
        failure_id: int | None = None,
        status: Status | None = None,
        error: str | None = None,
        item_id: Any = None,
    ) -> int:
        """Give failed items up for good, as if they were processed; returns how many.

        They enter the ledger (and its count of items) without an effect, so that they never come
        back, and their holes are filled. Name one, or what to choose by. An item
        whose id nobody has read (``failure.item_id`` is None) is left, unless you name it and say
        its ``item_id``.
        """
        chosen = _Chosen(self, failure_id, Filter.of(pipeline, entity, stream, status, error))
        name = None if item_id is None else id_text(_one_id(item_id))
        if name is not None and failure_id is None:
            raise UsageError("item_id goes with failure_id: skip(failure_id=..., item_id=...).")
        return await chosen.each(lambda found: disposal.skip(self._actor, found, name))

    async def quarantine(self, key: KeyLike, item_id: Any, reason: str) -> int:
        """Withhold an item of the stream at ``key`` until it is replayed; returns its failure_id.

        It need not have been seen yet. Raises UsageError if it is committed already.
        """
        if type(reason) is not str or not reason:
            raise UsageError(f"Say why: quarantine(key, item_id, reason), not {describe(reason)}.")
        of = Key.of(key)
        if of.depth != 3:
            raise UsageError(f"{of} is no stream: items belong to (pipeline, entity, stream).")
        return await self._run(disposal.quarantine(self._actor, of, _one_id(item_id), reason))


class _Chosen:
    """The failures that an act is for: one, or all that a filter finds, some at a time."""

    def __init__(self, store: AsyncFailures, failure_id: int | None, where: Filter) -> None:
        if (failure_id is None) == (where.is_everything):
            raise UsageError(
                "Say which: either failure_id=..., or some of pipeline, entity, stream, status, error."
            )
        self._store = store
        self._failure_id = failure_id
        self._where = where

    async def each(self, act: Callable[[Failure], Program[bool]]) -> int:
        """Run the act, a program for one Failure, in a transaction each; how many it was done to."""
        if self._failure_id is not None:
            found = await self._store.failure(self._failure_id)
            return 0 if found is None else int(await self._store._run(act(found)))
        done = after = 0
        while page := await self._store._run(
            disposal.listed(self._where, after, _BATCH), write=False
        ):
            after = page[-1].failure_id
            for found in page:
                done += await self._store._run(act(found))
        return done


def _one_id(value: Any) -> Any:
    ids = extract_ids([value], lambda value: value)
    check_new_ids(ids)
    return ids[0]
