"""Listings of leases, items, operations and gaps; entities and streams stand in ``roster``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from belaypin.filters import Filter
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs.roster import Streams
from belaypin.programs.scope import Scope
from belaypin.programs.standing import Lease
from belaypin.programs.walks import (
    BUDGET,
    Candidate,
    Found,
    Place,
    Stretch,
    learnt,
    place_of,
    text_of,
)
from belaypin.records.listing import GapRow, ItemRow, LeaseRow, LeaseState, Listing, OperationRow
from belaypin.revisions import parts
from belaypin.segments import unpack
from belaypin.times import MAX_US, MIN_US, from_us, to_us

__all__ = ["LEASE_FIELDS", "Leases", "gaps", "items", "lease_row", "operations"]

LEASE_FIELDS = ("pipeline", "entity", "state", "role", "owner", "updated")

_SEGMENTS_TOGETHER = 4
_OWNER_PARTS = 6


class Leases:
    """Leases by key and role."""

    name = "leases"

    def __init__(self, scope: Scope, *, with_released: bool) -> None:
        self._scope = scope
        self._with_released = with_released
        self._known: dict[int, Found] = {}

    @classmethod
    def of(cls, scope: Scope, where: Filter) -> Leases:
        """Those that a filter may pick: released ones only if it asks for them."""
        return cls(scope, with_released=any(t.text == "released" for t in where.of("state")))

    def step(self, after: Place | None, count: int) -> Program[Stretch]:
        names = ("at_pipeline", "at_entity", "at_role")
        at: dict[str, SqlValue] = dict(zip(names, after or ("", "", ""), strict=False))
        scope = self._scope
        if after is not None:
            scope = Scope((after[0], after[1], ""), scope.last)
        name = "listing.all_leases" if self._with_released else "listing.leases"
        rows = yield Statement(name, {**scope.params(), **at, "scan": count})
        self._known = {number: _lease(*row) for number, row in enumerate(rows)}
        found = [Candidate(number, (row[1], row[2], row[4])) for number, row in enumerate(rows)]
        return Stretch(found, len(rows) < count, len(rows))

    def learn(self, candidates: Sequence[Candidate]) -> Program[dict[int, Found]]:
        yield from ()
        return self._known


def _lease(*columns: Any) -> Found:
    row, (_, pipeline, entity, *_), now_us = lease_row(*columns), columns, columns[-1]
    values: dict[str, Any] = {"pipeline": pipeline, "entity": entity, "state": row.state}
    values |= {"role": row.role, "owner": row.owner}
    values["updated"] = now_us - to_us(row.renewed_at, "renewed_at")
    return Found(lambda: row, values)


def lease_row(
    key_id: int,
    pipeline: str,
    entity: str,
    stream: str,
    role: str,
    owner: str,
    token: int,
    ttl_us: int,
    acquired_us: int,
    renewed_us: int,
    expires_us: int,
    deaths: int,
    now_us: int,
) -> LeaseRow:
    """A lease, and how it stands now."""
    state: LeaseState = "released"
    if expires_us:
        is_live = Lease(key_id, role, owner, ttl_us, expires_us).is_live(now_us)
        state = "live" if is_live else "expired"
    host, pid = _process(owner)
    return LeaseRow(
        key=Key(*(part for part in (pipeline, entity, stream) if part)),
        role=role,
        state=state,
        owner=owner,
        host=host,
        pid=pid,
        token=token,
        acquired_at=from_us(acquired_us),
        renewed_at=from_us(renewed_us),
        expires_at=from_us(expires_us) if expires_us else None,
        ttl=timedelta(microseconds=ttl_us),
        deaths=deaths,
    )


def _process(owner: str) -> tuple[str | None, int | None]:
    """The machine and the process that an owner's name tells, as process.py makes it."""
    named = owner.split("/")
    if len(named) != _OWNER_PARTS or not named[3].removeprefix("pid-").isdecimal():
        return None, None
    return named[0], int(named[3].removeprefix("pid-"))


def items(
    key: Key, contains: str | None, limit: int, after: str | None
) -> Program[Listing[ItemRow]]:
    """Ids in the ledger of a stream, segment by segment, the oldest first."""
    found: list[ItemRow] = []
    seq, done = place_of(after, "items") or (0, 0)
    where = dict(zip(("pipeline", "entity", "stream"), _columns(key), strict=True))
    count = _SEGMENTS_TOGETHER
    rows = yield Statement("listing.segments", {**where, "seq": seq, "scan": count + 1})
    for number, (at, created_us, payload) in enumerate(rows):
        done = done if at == seq else 0
        if number == count:
            return Listing(tuple(found), text_of((at, 0), "items"))
        ids = list(unpack(payload, f"segment {at} of the ledger of {key}").items())
        for index in range(done, len(ids)):
            item_id, mark = ids[index]
            if contains is not None and contains not in str(item_id):
                continue
            if len(found) == limit:
                return Listing(tuple(found), text_of((at, index), "items"))
            found.append(_item(item_id, mark, at, created_us))
    return Listing(tuple(found), None)


def _item(item_id: ItemId, mark: bytes | None, seq: int, created_us: int) -> ItemRow:
    revision, content = (None, None) if mark is None else parts(mark)
    return ItemRow(
        item_id=item_id,
        segment=seq,
        committed_by=from_us(created_us),
        revision=revision,
        fingerprint=None if content is None else content.hex(),
    )


def operations(status: str | None, limit: int, after: str | None) -> Program[Listing[OperationRow]]:
    """Operations by their ids."""
    place = place_of(after, "operations") or ("",)
    rare = status in ("running", "failed")
    name = "listing.unfinished_operations" if rare else "listing.operations"
    count = max(BUDGET, limit + 1) if status is not None else limit + 1
    rows = yield Statement(name, {"after": place[0], "scan": count})
    picked = [row for row in rows if status is None or row[1] == status]
    found = tuple(_operation(*row) for row in picked[:limit])
    if len(picked) > limit:
        return Listing(found, text_of((found[-1].id,), "operations"))
    more = text_of((rows[-1][0],), "operations") if len(rows) == count else None
    return Listing(found, more)


def _operation(
    operation_id: str,
    status: Any,
    attempts: int,
    owner: str,
    error: str | None,
    expires_us: int,
    created_us: int,
    updated_us: int,
    completed_us: int | None,
    now_us: int,
) -> OperationRow:
    return OperationRow(
        id=operation_id,
        status=status,
        is_abandoned=status == "running" and expires_us <= now_us,
        attempts=attempts,
        owner=owner,
        error=error,
        created_at=from_us(created_us),
        updated_at=from_us(updated_us),
        completed_at=None if completed_us is None else from_us(completed_us),
    )


def gaps(walk: Streams, where: Filter, limit: int, after: str | None) -> Program[Listing[GapRow]]:
    """The holes of the streams that the filter picks, by key, the oldest of each first."""
    found: list[GapRow] = []
    at: Place | None = None
    if (cursor := place_of(after, "gaps")) is not None:
        at = cursor[:3]
        found += yield from _gaps_of(Key(*at), cursor[3], limit + 1)
    left, count = BUDGET, min(limit + 1, BUDGET)
    while len(found) <= limit and left > 0:
        stretch = yield from walk.step(at, count)
        known = yield from learnt(walk, stretch)
        for candidate in stretch.candidates:
            at = candidate.place
            each = known.get(candidate.number)
            if each is not None and where.matches(each.values):
                found += yield from _gaps_of(Key(*at), MIN_US - 1, limit + 1 - len(found))
            if len(found) > limit:
                break
        if stretch.is_end:
            at = None
            break
        left -= stretch.cost
    if len(found) > limit:
        last = found[limit - 1]
        place: Place = (*_columns(last.key), to_us(last.start, "start"))
    elif at is not None:
        place = (*at, MAX_US)
    else:
        return Listing(tuple(found), None)
    return Listing(tuple(found[:limit]), text_of(place, "gaps"))


def _gaps_of(key: Key, after_us: int, count: int) -> Program[list[GapRow]]:
    where = dict(zip(("pipeline", "entity", "stream"), _columns(key), strict=True))
    rows = yield Statement("listing.gaps", {**where, "after_us": after_us, "scan": count})
    return [
        GapRow(
            key=key,
            start=from_us(start_us),
            end=from_us(end_us),
            duration=timedelta(microseconds=end_us - start_us),
        )
        for start_us, end_us in rows
    ]


def _columns(key: Key) -> tuple[str, str, str]:
    return key.pipeline, key.entity, key.stream
