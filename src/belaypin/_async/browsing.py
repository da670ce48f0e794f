"""Browsing: what a store holds, a page at a time, in any size of store; nothing here writes.

What does the work is imported with the first call: most workers never make one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from belaypin._async.records import KeyLike
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.filters import Filter, parse
from belaypin.keys import Key
from belaypin.program import Program

if TYPE_CHECKING:
    from belaypin.programs.roster import Order
    from belaypin.records.listing import (
        Count,
        EntityRow,
        GapRow,
        ItemRow,
        LeaseRow,
        Listing,
        OperationRow,
        OperationStatus,
        Storage,
        StreamRow,
        WindowRow,
    )

__all__ = ["AsyncBrowsing", "Listed"]

T = TypeVar("T")

Listed = Literal["entities", "streams", "leases"]


class AsyncBrowsing(ABC):
    """Pages of rows, each read in one short transaction that changes nothing.

    ``where`` is a filter: text such as ``"state:failed lag>1h"``, see ``belaypin.filters``.
    ``limit`` rows at most are returned; pass a listing's ``next`` as ``after`` to go on.
    """

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    async def pipelines(self) -> list[str]:
        """The names of all pipelines, in order."""
        from belaypin.programs import roster

        return await self._run(roster.pipelines(), write=False)

    async def entities(
        self,
        where: str | Filter = "",
        *,
        pipeline: str | None = None,
        order: Order = "key",
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[EntityRow]:
        """Entities, each with its streams rolled up, as ``store.status`` does it for one.

        ``order``: "key", "lag" (the furthest behind first; those without a lag are left out) or
        "updated" (the newest change first, to within ten seconds).
        """
        from belaypin.programs import roster, sieve
        from belaypin.records.listing import Listing

        asked = _asked(where, roster.ENTITY_FIELDS, "Entities", pipeline, limit, order)
        scope = sieve.narrowed(asked, pipeline)
        if scope is None:
            return Listing()
        walk = roster.Entities(asked, scope, order)
        return await self._run(roster.listed(walk, asked, limit, after), write=False)

    async def streams(
        self,
        where: str | Filter = "",
        *,
        pipeline: str | None = None,
        entity: str | None = None,
        order: Order = "key",
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[StreamRow]:
        """Streams (and what else was saved at a key of three parts); ``order`` as in ``entities``."""
        from belaypin.programs import roster, sieve
        from belaypin.records.listing import Listing

        asked = _asked(where, roster.STREAM_FIELDS, "Streams", pipeline, limit, order, entity)
        scope = sieve.narrowed(asked, pipeline, entity)
        if scope is None:
            return Listing()
        walk = roster.Streams(asked, scope, order)
        return await self._run(roster.listed(walk, asked, limit, after), write=False)

    async def leases(
        self,
        where: str | Filter = "",
        *,
        pipeline: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[LeaseRow]:
        """Leases by key and role: held ones, and those whose holder never released them.

        With ``state:released`` in the filter: those that were released, whose rows stay for their
        tokens.
        """
        from belaypin.programs import listing, sieve, walks
        from belaypin.records.listing import Listing

        asked = _asked(where, listing.LEASE_FIELDS, "Leases", pipeline, limit)
        scope = sieve.narrowed(asked, pipeline)
        if scope is None:
            return Listing()
        walk = listing.Leases.of(scope, asked)
        return await self._run(walks.page(walk, asked, limit, after), write=False)

    async def windows(
        self, key: KeyLike | None = None, *, limit: int = 100, after: str | None = None
    ) -> Listing[WindowRow]:
        """Windows that were begun and are not finished, at a Key and beneath it (None: all).

        Each with its cursor and the lease that it is worked on under, by key and role. Raises
        CorruptRecord if what is noted of one cannot be read.
        """
        from belaypin.programs import opened

        check_count("limit", limit, at_least=1)
        where = None if key is None else Key.of(key)
        return await self._run(opened.windows(where, limit, after), write=False)

    async def items(
        self,
        key: KeyLike,
        *,
        contains: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[ItemRow]:
        """The ids that are committed to the stream at ``key``, as they were packed, oldest first.

        ``contains``: only those with this in them. If ids are packed together while you page
        through them, some may come twice; none is left out. CorruptRecord for a damaged segment.
        """
        from belaypin.programs import listing

        check_count("limit", limit, at_least=1)
        if contains is not None and not isinstance(contains, str):
            raise UsageError(f"contains must be text, not {describe(contains)}.")
        return await self._run(listing.items(Key.of(key), contains, limit, after), write=False)

    async def operations(
        self,
        *,
        status: OperationStatus | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[OperationRow]:
        """Operations by their ids, of all pipelines; ``store.operation`` tells the rest of one."""
        from belaypin.programs import listing
        from belaypin.records.listing import OperationStatus as Known

        check_count("limit", limit, at_least=1)
        if status is not None and status not in get_args(Known):
            raise UsageError(f"status is one of {get_args(Known)}, not {describe(status)}.")
        return await self._run(listing.operations(status, limit, after), write=False)

    async def gap_list(
        self,
        where: str | Filter = "",
        *,
        pipeline: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Listing[GapRow]:
        """The holes in the coverage of the streams that ``where`` picks, by key, oldest first."""
        from belaypin.programs import listing, roster, sieve
        from belaypin.records.listing import Listing

        asked = _asked(where, roster.STREAM_FIELDS, "Streams", pipeline, limit)
        scope = sieve.narrowed(asked, pipeline)
        if scope is None:
            return Listing()
        holed = Filter((*asked.terms, *parse("gaps>0").terms))
        walk = roster.Streams(holed, scope, "key")
        return await self._run(listing.gaps(walk, asked, limit, after), write=False)

    async def count(
        self,
        where: str | Filter = "",
        kind: Listed = "streams",
        *,
        pipeline: str | None = None,
        cap: int = 10_000,
    ) -> Count:
        """How many "streams", "entities" or "leases" a filter picks: a number up to ``cap``.

        Its ``is_exact`` is False if there may be more: the cap was reached, or what one short read
        may look at. ``str`` of it is then "10000+".
        """
        from belaypin.programs import listing, roster, sieve, walks
        from belaypin.records.listing import Count

        walk: walks.Walk
        if kind == "streams":
            asked = _asked(where, roster.STREAM_FIELDS, "Streams", pipeline, cap)
        elif kind == "entities":
            asked = _asked(where, roster.ENTITY_FIELDS, "Entities", pipeline, cap)
        elif kind == "leases":
            asked = _asked(where, listing.LEASE_FIELDS, "Leases", pipeline, cap)
        else:
            raise UsageError(f"kind is 'streams', 'entities' or 'leases', not {describe(kind)}.")
        scope = sieve.narrowed(asked, pipeline)
        if scope is None:
            return Count(0)
        if kind == "leases":
            walk = listing.Leases.of(scope, asked)
        elif kind == "entities":
            walk = roster.Entities(asked, scope, "key")
        else:
            walk = roster.Streams(asked, scope, "key")
        return await self._run(walks.count(walk, asked, cap), write=False)

    async def storage(self, *, pipeline: str | None = None) -> Storage:
        """What the store takes up, kind by kind, or one pipeline of it.

        It visits each row once, but no payload, in parts as ``store.health``. What could be given
        back is ``store.gc(dry_run=True)`` and ``store.compact(dry_run=True)``.
        """
        from belaypin.programs import storage

        if pipeline is not None:
            Key(pipeline)
        return await self._run(storage.read(pipeline), write=False)


def _asked(
    where: str | Filter,
    fields: tuple[str, ...],
    what: str,
    pipeline: str | None,
    limit: int,
    order: str = "key",
    entity: str | None = None,
) -> Filter:
    """The filter, once everything that was passed is known to be in order."""
    check_count("limit", limit, at_least=1)
    if order not in ("key", "lag", "updated"):
        raise UsageError(f"order is 'key', 'lag' or 'updated', not {describe(order)}.")
    if entity is not None and pipeline is None:
        raise UsageError("An entity belongs to a pipeline: name that as well.")
    if pipeline is not None:
        Key(pipeline, entity or "")
    asked = parse(where)
    asked.check(fields, what)
    return asked
