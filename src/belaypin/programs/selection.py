"""Selection: which items of a page are new or changed, each once, and what names them outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from itertools import compress
from typing import Any, Literal, NamedTuple

from belaypin.errors import UsageError
from belaypin.ids import ItemId, check_new_ids
from belaypin.keys import Key
from belaypin.membership import Membership
from belaypin.programs import ledger
from belaypin.programs.pages import Counts
from belaypin.revisions import compare
from belaypin.segments import FINGERPRINT_BYTES, MARK_BYTES
from belaypin.times import MIN_US, from_us

__all__ = ["ANY_TIME", "Horizon", "Selection"]

Kind = Literal["new", "changed"]


class Horizon(NamedTuple):
    """Below ``us`` items are too late, but those ``exempt``: surely never committed as they are."""

    us: int
    exempt: AbstractSet[ItemId] = frozenset()


ANY_TIME = Horizon(MIN_US)


class Selection:
    """The items that one commit has picked so far: their ledger entries and their counts."""

    def __init__(
        self,
        key: Key,
        event_us: Callable[[Any], int] | None,
        late_before_us: int,
        newest_of: Callable[[Sequence[Any], Sequence[Any]], int | None] = lambda *_: None,
    ) -> None:
        self.entries: dict[ItemId, bytes | None] = {}
        self.counts = Counts()
        self.too_late: set[ItemId] = set()
        """Items from below the replay horizon, which were not picked."""
        self.newest_us: int | None = MIN_US
        """None of the entries has a later event time; None if that is not known."""
        self._newest_of = newest_of
        self._key = key
        self._event_us = event_us
        self._late_before_us = late_before_us
        self._picked: list[_Picked] = []
        self._by_identity: dict[int, tuple[Any, ItemId, Kind]] = {}

    def unknown(self, membership: Membership, ids: Sequence[ItemId]) -> set[ItemId]:
        """The ids that were neither committed, as far as is known, nor picked here already.

        Raises UsageError for one that can't be stored.
        """
        unknown = membership.unknown(ids)
        check_new_ids(unknown)
        return unknown.difference(self.entries) if self.entries else unknown

    def pick(
        self,
        membership: Membership,
        items: Sequence[Any],
        ids: Sequence[ItemId],
        prints: Sequence[bytes] | None,
        unknown: set[ItemId],
        withheld: AbstractSet[ItemId] = frozenset(),
        horizon: Horizon = ANY_TIME,
    ) -> list[Any]:
        """The items to process, in input order and each id once. ``membership`` is exact for them.

        Without ``prints`` the first of several items with one id counts; with them the last, which
        is the newest edit; or, where they hold revisions, the one with the highest. Those
        ``withheld`` stay put aside, and count as skipped. What lies below the ``horizon`` is too
        late, as the ledger may have forgotten it.
        """
        stale = 0
        if withheld:
            unknown = unknown - withheld
        touched: dict[ItemId, Any] = {}
        if prints is None:
            found = _first_of_each(unknown, items, ids)
            picked = self._in_time(found, horizon)
            entries: dict[ItemId, bytes | None] = dict.fromkeys(picked.ids)
            self.entries = self.entries | entries if self.entries else entries
        elif prints and len(prints[0]) == MARK_BYTES:
            newest = _newest(items, ids, prints)
            found, touched, stale = self._newer(membership, unknown, newest, withheld)
            picked = self._in_time(found, horizon)
            self.entries.update((i, newest[i][1]) for i in (*picked.ids, *touched))
        else:
            last = dict(zip(ids, zip(items, prints, strict=True), strict=True))
            found = self._changed(membership, unknown, last, withheld)
            picked = self._in_time(found, horizon)
            self.entries.update((i, last[i][1]) for i in picked.ids)
        self._picked.append(picked)
        self._age(items, [*picked.items, *touched.values()] if touched else picked.items)
        self._count(len(items), len(found.items), picked, stale)
        return picked.items

    def is_picked(self, item: Any) -> bool:
        """Whether an item that was picked is still to be committed, and not dropped since."""
        return self._find(item)[1] in self.entries

    def entry(self, item: Any) -> tuple[ItemId, bytes | None]:
        """What is to be committed of a picked item: its id and its fingerprint."""
        item_id = self._find(item)[1]
        return item_id, self.entries[item_id]

    def drop(self, item: Any) -> None:
        """Take a picked item out again, as it failed."""
        _, item_id, kind = self._find(item)
        del self.entries[item_id]
        is_new = kind == "new"
        self._add(Counts(-is_new, 0, is_new - 1, -self._late([item])))

    def kind(self, item: Any) -> Kind:
        """Whether a picked item was never committed before ("new") or committed otherwise."""
        return self._find(item)[2]

    def idempotency_key(self, item: Any) -> str:
        """A text that names this item and, where content is compared, this content of it.

        It is the same on every attempt, for a sink outside the database to recognise repeats by.
        """
        item_id = self._find(item)[1]
        parts = (*self._key.parts, type(item_id).__name__, str(item_id))
        named = b"".join(len(p).to_bytes(4, "big") + p for p in (part.encode() for part in parts))
        return sha256(named + (self.entries.get(item_id) or b"")).hexdigest()[:32]

    def _changed(
        self,
        membership: Membership,
        unknown: set[ItemId],
        last: Mapping[ItemId, tuple[Any, bytes]],
        withheld: AbstractSet[ItemId],
    ) -> _Picked:
        picked = _Picked([], [], [])
        for item_id, (item, fingerprint) in last.items():
            if item_id in self.entries or item_id in withheld:
                continue
            is_new = item_id in unknown
            if is_new or membership.differs(item_id, fingerprint):
                picked.items.append(item)
                picked.ids.append(item_id)
                picked.kinds.append("new" if is_new else "changed")
        return picked

    def _newer(
        self,
        membership: Membership,
        unknown: set[ItemId],
        newest: Mapping[ItemId, tuple[Any, bytes]],
        withheld: AbstractSet[ItemId],
    ) -> tuple[_Picked, dict[ItemId, Any], int]:
        """What is new, or newer than what is committed; or as it is; how many were older."""
        picked, touched, stale = _Picked([], [], []), dict[ItemId, Any](), 0
        for item_id, (item, mark) in newest.items():
            if item_id in self.entries or item_id in withheld:
                continue
            is_new = item_id in unknown
            verdict = "newer" if is_new else compare(membership.print_of(item_id), mark)
            stale += verdict == "older"
            if verdict == "touched":
                touched[item_id] = item
            elif verdict == "newer":
                picked.items.append(item)
                picked.ids.append(item_id)
                picked.kinds.append("new" if is_new else "changed")
        return picked, touched, stale

    def _in_time(self, found: _Picked, horizon: Horizon) -> _Picked:
        """What does not lie below the replay horizon."""
        if horizon.us <= MIN_US or not found.items:
            return found
        event_us = self._event_us
        if event_us is None:
            raise UsageError(
                f"{self._key} has a replay horizon: what is older than "
                f"{from_us(horizon.us).isoformat()} is too late, as its ids may be forgotten. "
                f"Without an event time nobody can tell. Nothing was written. Pass at= to "
                f"windows(), as where the horizon was declared."
            )
        named = zip(found.ids, found.items, strict=True)
        in_time = [i in horizon.exempt or event_us(item) >= horizon.us for i, item in named]
        if all(in_time):
            return found
        picked = _Picked(*(list(compress(part, in_time)) for part in found))
        self.too_late.update(found.ids)
        self.too_late.difference_update(picked.ids)
        return picked

    def _age(self, items: Sequence[Any], entered: Sequence[Any]) -> None:
        if entered:
            self.newest_us = ledger.newest(self.newest_us, self._newest_of(items, entered))

    def _count(self, seen: int, found: int, picked: _Picked, stale: int) -> None:
        new, taken = picked.kinds.count("new"), len(picked.kinds)
        late = self._late(picked.items)
        self._add(Counts(new, seen - found, taken - new, late, stale, found - taken))

    def _add(self, more: Counts) -> None:
        self.counts = Counts(*map(sum, zip(self.counts, more, strict=True)))

    def _late(self, fresh: Sequence[Any]) -> int:
        if self._event_us is None or self._late_before_us <= MIN_US or not fresh:
            return 0
        event_us, late_before_us = self._event_us, self._late_before_us
        return sum(event_us(item) < late_before_us for item in fresh)

    def _find(self, item: Any) -> tuple[Any, ItemId, Kind]:
        while self._picked:
            picked = self._picked.pop()
            named = zip(picked.items, picked.ids, picked.kinds, strict=True)
            self._by_identity.update((id(found[0]), found) for found in named)
        known = self._by_identity.get(id(item))
        if known is None:
            raise UsageError(
                "This item was not returned by fresh() of this transaction. Pass the very object "
                "that fresh() returned."
            )
        return known


class _Picked(NamedTuple):
    items: list[Any]
    ids: list[ItemId]
    kinds: list[Kind]


def _newest(
    items: Sequence[Any], ids: Sequence[ItemId], marks: Sequence[bytes]
) -> dict[ItemId, tuple[Any, bytes]]:
    """Each id once, with the highest of its revisions; of two that are equal, the last."""
    newest: dict[ItemId, tuple[Any, bytes]] = {}
    for item, item_id, mark in zip(items, ids, marks, strict=True):
        known = newest.get(item_id)
        if known is None or mark[:-FINGERPRINT_BYTES] >= known[1][:-FINGERPRINT_BYTES]:
            newest[item_id] = item, mark
    return newest


def _first_of_each(unknown: set[ItemId], items: Sequence[Any], ids: Sequence[ItemId]) -> _Picked:
    if not unknown:
        return _Picked([], [], [])
    if len(unknown) < len(ids):
        first: dict[ItemId, Any] = {}
        for item, item_id in zip(items, ids, strict=True):
            if item_id in unknown:
                first.setdefault(item_id, item)
        items, ids = list(first.values()), list(first)
    return _Picked(list(items), list(ids), ["new"] * len(ids))
