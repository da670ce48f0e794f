"""Opened windows: which were begun and are not finished, where they stand, and who is at them."""

from __future__ import annotations

from typing import Any

import msgspec

from belaypin.errors import CorruptRecord
from belaypin.keys import Key
from belaypin.program import Program, Statement
from belaypin.programs.listing import lease_row
from belaypin.programs.pages import OpenWindow
from belaypin.programs.scope import Scope
from belaypin.programs.walks import place_of, text_of
from belaypin.records.listing import LeaseRow, Listing, WindowRow
from belaypin.times import MIN_US, from_us

__all__ = ["windows"]

_PROGRESS: msgspec.json.Decoder[dict[str, OpenWindow]] = msgspec.json.Decoder(dict[str, OpenWindow])

_LAST_ROLE = "\U0010ffff"


def windows(key: Key | None, limit: int, after: str | None) -> Program[Listing[WindowRow]]:
    """Open windows at a key and beneath it, by key and role."""
    scope, place = Scope.at(key), place_of(after, "windows")
    if place is not None:
        scope = Scope((place[0], place[1], place[2]), scope.last)
    yield Statement("recovery.begin")
    # The first of these streams may be behind us with all its windows.
    rows = yield Statement("listing.windows", {**scope.params(), "scan": limit + 2})
    ids = msgspec.json.encode(sorted({row[5] for row in rows})).decode()
    held = yield Statement("listing.holders", {"ids": ids})
    leases = {(row[0], row[4]): lease_row(*row) for row in held}
    found = [window for row in rows for window in _windows(row, leases)]
    if place is not None:
        found = [each for each in found if _place(each) > place]
    if len(found) > limit:
        return Listing(tuple(found[:limit]), text_of(_place(found[limit - 1]), "windows"))
    more = text_of((*rows[-1][:3], _LAST_ROLE), "windows") if len(rows) == limit + 2 else None
    return Listing(tuple(found), more)


def _windows(row: tuple[Any, ...], leases: dict[tuple[int, str], LeaseRow]) -> list[WindowRow]:
    """The windows of one stream, by role."""
    pipeline, entity, stream, progress, updated_us, entity_id = row
    key = Key(pipeline, entity, stream)
    try:
        opened = _PROGRESS.decode(progress)
    except (TypeError, ValueError) as error:
        raise CorruptRecord(
            f"What is noted of the open windows of {key} cannot be read: {error} Look at "
            f"store.verify(); store.recover() has them begin again."
        ) from error
    return [
        WindowRow(
            key=key,
            role=role,
            start=from_us(window.start_us),
            end=from_us(window.end_us),
            is_head=window.is_head,
            cursor=window.cursor,
            covered_to=None if window.covered_to_us <= MIN_US else from_us(window.covered_to_us),
            newest=None if window.newest_us is None else from_us(window.newest_us),
            moved_at=from_us(updated_us),
            lease=leases.get((entity_id, role)),
        )
        for role, window in sorted(opened.items())
    ]


def _place(row: WindowRow) -> tuple[str, str, str, str]:
    return row.key.pipeline, row.key.entity, row.key.stream, row.role
