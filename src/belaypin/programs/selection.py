"""Selection: which items of a page are new or changed, each once, and what names them outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Literal

from belaypin.errors import UsageError
from belaypin.ids import ItemId, check_new_ids
from belaypin.keys import Key
from belaypin.membership import Membership
from belaypin.programs.pages import Counts

__all__ = ["Selection"]

Kind = Literal["new", "changed"]


class Selection:
    """The items that one commit has picked so far: their ledger entries and their counts."""

    def __init__(
        self, key: Key, event_us: Callable[[Any], int] | None, late_before_us: int
    ) -> None:
        self.entries: dict[ItemId, bytes | None] = {}
        self._key = key
        self._event_us = event_us
        self._late_before_us = late_before_us
        self._counts = Counts()
        self._picked: list[tuple[Any, ItemId, Kind]] = []
        self._by_identity: dict[int, tuple[Any, ItemId, Kind]] = {}

    @property
    def counts(self) -> Counts:
        """How many items were picked and passed over so far."""
        return self._counts

    def may_pick(
        self, membership: Membership, ids: Sequence[ItemId], prints: Sequence[bytes] | None
    ) -> bool:
        """Whether any of the items might be new or changed, by what is known without a look."""
        if membership.unknown(ids).difference(self.entries):
            return True
        return prints is not None and any(
            i not in self.entries and membership.differs(i, p)
            for i, p in zip(ids, prints, strict=True)
        )

    def pick(
        self,
        membership: Membership,
        items: Sequence[Any],
        ids: Sequence[ItemId],
        prints: Sequence[bytes] | None,
    ) -> list[Any]:
        """The items to process, in input order and each id once. ``membership`` is exact for them.

        Without ``prints`` the first of several items with one id counts; with them the last, which
        is the newest edit.
        """
        unknown = membership.unknown(ids).difference(self.entries)
        check_new_ids(unknown)
        if prints is None:
            picked = self._pick_new(unknown, items, ids)
        else:
            picked = self._pick_changed(membership, unknown, items, ids, prints)
        changed = len(picked) - len(unknown)
        self._picked += picked
        fresh = [item for item, _, _ in picked]
        self._count(len(items), len(unknown), changed, self._late(fresh))
        return fresh

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
        return sha256(named + (self.entries[item_id] or b"")).hexdigest()[:32]

    def _pick_new(
        self, unknown: set[ItemId], items: Sequence[Any], ids: Sequence[ItemId]
    ) -> list[tuple[Any, ItemId, Kind]]:
        waiting = set(unknown)
        picked: list[tuple[Any, ItemId, Kind]] = []
        for item, item_id in zip(items, ids, strict=True):
            if item_id in waiting:
                waiting.discard(item_id)
                picked.append((item, item_id, "new"))
        self.entries.update(dict.fromkeys(unknown))
        return picked

    def _pick_changed(
        self,
        membership: Membership,
        unknown: set[ItemId],
        items: Sequence[Any],
        ids: Sequence[ItemId],
        prints: Sequence[bytes],
    ) -> list[tuple[Any, ItemId, Kind]]:
        last = dict(zip(ids, zip(items, prints, strict=True), strict=True))
        picked: list[tuple[Any, ItemId, Kind]] = []
        for item_id, (item, fingerprint) in last.items():
            if item_id in self.entries:
                continue
            if item_id in unknown:
                picked.append((item, item_id, "new"))
            elif membership.differs(item_id, fingerprint):
                picked.append((item, item_id, "changed"))
            else:
                continue
            self.entries[item_id] = fingerprint
        return picked

    def _count(self, seen: int, new: int, changed: int, late: int) -> None:
        so_far = self._counts
        self._counts = Counts(
            so_far.items + new,
            so_far.skipped + seen - new - changed,
            so_far.changed + changed,
            so_far.late + late,
        )

    def _late(self, fresh: Sequence[Any]) -> int:
        if self._event_us is None or not fresh:
            return 0
        event_us, late_before_us = self._event_us, self._late_before_us
        return sum(event_us(item) < late_before_us for item in fresh)

    def _find(self, item: Any) -> tuple[Any, ItemId, Kind]:
        while len(self._by_identity) < len(self._picked):
            picked = self._picked[len(self._by_identity)]
            self._by_identity[id(picked[0])] = picked
        found = self._by_identity.get(id(item))
        if found is None:
            raise UsageError(
                "This item was not returned by fresh() of this transaction. Pass the very object "
                "that fresh() returned."
            )
        return found
