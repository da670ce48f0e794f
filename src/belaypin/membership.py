"""Membership: which ids a stream has committed, answered from memory for a whole page at once.

Ids are learned block by block, and only from blocks in whose range a page's ids lie: ids that grow
with time (serial numbers, snowflakes, ULIDs) touch none or one. Every fact in here is positive and
committed, so it never goes stale within a generation. Memory is bounded by ``limit_items``: beyond
it, what was learned is dropped and learned again on need; and where even one page's ids are spread
over more than that (random ids), a table of their hashes answers for the new ones without a read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from belaypin.ids import ItemId
from belaypin.segments import Block, order_key

__all__ = ["LIMIT_ITEMS", "Known", "Membership"]

LIMIT_ITEMS = 1_000_000
"""Ids that one stream keeps in memory by default: about 100 MB of text ids."""


class Known(NamedTuple):
    """The fingerprint that an id was last committed with, and in which segment."""

    seq: int
    fingerprint: bytes


class Membership:
    """The committed ids of one stream and generation, as far as they were needed.

    ``unknown(ids)`` is exact once the blocks that hold doubtful ids were learned: see
    ``programs.ledger.resolve``, the program that reads them.
    """

    def __init__(self, limit_items: int = LIMIT_ITEMS) -> None:
        self.blocks: dict[int, Block] = {}
        self.levels: Counter[int] = Counter()
        """How many blocks there are of each level."""
        self.head_seq = 0
        self.unscreened: set[int] = set()
        """Blocks whose ids must be given to ``screen`` before the hashes can be trusted."""
        self._limit_items = limit_items
        self._known: set[ItemId] = set()
        self._prints: dict[ItemId, Known] = {}
        self._ends: tuple[bytes, bytes] | None = None
        self._unlearned: dict[int, Block] = {}
        self._hashes: _Hashes | None = None
        self._last_hit_seq = 0

    @property
    def is_screened(self) -> bool:
        """Whether a table of hashes stands before the blocks, as they do not fit in memory."""
        return self._hashes is not None

    def is_exact(self, ids: Collection[ItemId]) -> bool:
        """Whether ``unknown(ids)`` is exact already: no block that was not learned can hold them."""
        return not self._unlearned or self._is_beyond(ids)

    def refresh(self, blocks: Iterable[Block], head_seq: int) -> None:
        """Take over the list of blocks as it stands in the database at ``head_seq``."""
        learned = self.blocks.keys() - self._unlearned.keys()
        before, self.blocks = self.blocks, {block.seq: block for block in blocks}
        self.levels = Counter(block.level for block in self.blocks.values())
        self._unlearned = {s: block for s, block in self.blocks.items() if s not in learned}
        self.head_seq = head_seq
        self._widen(self.blocks.values())
        if self.is_screened:
            self.unscreened |= self.blocks.keys() - before.keys()
        self.unscreened &= self.blocks.keys()

    def replaced(
        self, removed: Sequence[int], added: Sequence[Block], head_seq: int, *, is_known: bool
    ) -> None:
        """Note a commit of our own: the blocks ``removed`` went, merged into those ``added``.

        ``is_known``: the ids that were not in ``removed`` are kept in memory, as ``add`` said.
        """
        doubtful = [seq for seq in removed if self._unlearned.pop(seq, None)]
        for seq in removed:
            self.levels[self.blocks.pop(seq).level] -= 1
        for block in added:
            self.blocks[block.seq] = block
            self.levels[block.level] += 1
            if doubtful or not is_known:
                self._unlearned[block.seq] = block
        self._widen(added)
        if not self.unscreened.isdisjoint(removed):
            self.unscreened.difference_update(removed)
            self.unscreened.update(block.seq for block in added)
        self.head_seq = head_seq

    def doubtful(self, ids: Collection[ItemId], *, with_content: bool = False) -> set[ItemId]:
        """The ids of which the unlearned blocks may say more than is known.

        ``with_content``: known ids too, as another writer may have committed a newer fingerprint.
        """
        if not self._unlearned:
            return set()
        return set(ids) if with_content else self.unknown(ids)

    def holding(self, ids: Iterable[ItemId]) -> list[Block]:
        """The unlearned blocks in whose range one of these ids lies, newest first.

        A screened stream begins with the blocks beside the last hit: a replay walks through them.
        """
        keys = sorted(map(order_key, ids))
        found = [block for block in self._unlearned.values() if _reaches(block, keys)]
        if self.is_screened:
            return sorted(found, key=lambda b: (abs(b.seq - self._last_hit_seq), -b.seq))
        return sorted(found, key=lambda b: -b.seq)

    def make_room(self, blocks: Sequence[Block]) -> bool:
        """Make sure that these blocks may be learned; True if all was forgotten for it.

        Then ``doubtful`` must be asked again, and hashing may have been started (``unscreened``).
        """
        needed = 0 if self.is_screened else sum(block.items for block in blocks)
        if not self._known or len(self._known) + needed <= self._limit_items:
            return self._must_screen(needed)
        self._forget()
        return True

    def screen(self, seq: int, ids: Collection[ItemId]) -> None:
        """Add the ids of block ``seq`` to the hashes."""
        if self._hashes is not None:
            self._hashes.add(ids)
        self.unscreened.discard(seq)

    def screened(self, ids: Collection[ItemId]) -> set[ItemId]:
        """Those of the ids whose hash is known: all others are new."""
        return self._hashes.holding(ids) if self._hashes is not None else set(ids)

    def settled(self, ids: Iterable[ItemId], seq: int, *, with_content: bool) -> set[ItemId]:
        """Those of the ids of which a block as old as ``seq`` has nothing to add."""
        if not with_content:
            return self._known.intersection(ids)
        prints = self._prints
        return {i for i in ids if (known := prints.get(i)) is not None and known.seq >= seq}

    def learn(self, seq: int, ids: Mapping[ItemId, bytes | None], wanted: set[ItemId]) -> None:
        """Take in the ids of block ``seq``: all of them, if they fit in memory.

        Of a screened stream only those ``wanted``, unless so many are that it looks like a replay
        of what was once committed together: then the next page will want the others.
        """
        hits = wanted.intersection(ids) if self.is_screened else wanted
        if self.is_screened and len(hits) * 4 < len(wanted):
            self._take(seq, {i: ids[i] for i in hits})
            return
        self._take(seq, ids)
        self._unlearned.pop(seq, None)
        self._last_hit_seq = seq

    def add(self, seq: int, ids: Mapping[ItemId, bytes | None]) -> bool:
        """Take in the ids that a commit of our own has just added in block ``seq``.

        False if they need not be kept: they lie beyond all that was committed before, as the next
        ones will, and should they be read again, their block can be learned.
        """
        if self._is_beyond(ids):
            return False
        if len(self._known) + len(ids) > self._limit_items:
            self._forget()
        self._take(seq, ids)
        if self._hashes is not None:
            self._hashes.add(ids)
        return True

    def unknown(self, ids: Collection[ItemId]) -> set[ItemId]:
        """The ids that were never committed."""
        if self._known.isdisjoint(ids):
            return set(ids)  # all new, as in most pages: twice as fast to find out
        return set(ids).difference(self._known)

    def print_of(self, item_id: ItemId) -> bytes | None:
        """What stands beside a committed id in the ledger, if anything does."""
        known = self._prints.get(item_id)
        return None if known is None else known.fingerprint

    def differs(self, item_id: ItemId, fingerprint: bytes) -> bool:
        """Whether a committed id was last committed with other content (or with none declared)."""
        return self.print_of(item_id) != fingerprint

    def _must_screen(self, needed: int) -> bool:
        if self.is_screened or needed <= self._limit_items:
            return False
        total = sum(block.items for block in self.blocks.values())
        self._hashes = _Hashes(total + self._limit_items)
        self.unscreened = set(self.blocks)
        return True

    def _take(self, seq: int, ids: Mapping[ItemId, bytes | None]) -> None:
        self._known.update(ids)
        if not any(ids.values()):
            return
        for item_id, fingerprint in ids.items():
            known = self._prints.get(item_id)
            if fingerprint is not None and (known is None or known.seq <= seq):
                self._prints[item_id] = Known(seq, fingerprint)

    def _is_beyond(self, ids: Collection[ItemId]) -> bool:
        """Whether all the ids lie before, or all behind, every id that was ever committed."""
        if self._ends is None or self.is_screened:
            return False
        try:
            lowest, highest = order_key(min(ids)), order_key(max(ids))
        except (TypeError, ValueError):  # numbers and text, or none at all
            return False
        return lowest > self._ends[1] or highest < self._ends[0]

    def _widen(self, blocks: Iterable[Block]) -> None:
        ends = [end for block in blocks for end in (block.low, block.high)]
        if ends:
            ends += self._ends or ()
            self._ends = min(ends), max(ends)

    def _forget(self) -> None:
        self._known.clear()
        self._prints.clear()
        self._unlearned = dict(self.blocks)


def _reaches(block: Block, keys: Sequence[bytes]) -> bool:
    """Whether one of the sorted ``keys`` lies between the block's ends."""
    if not keys or keys[-1] < block.low or keys[0] > block.high:
        return False
    return keys[bisect_left(keys, block.low)] <= block.high


class _Hashes:
    """The 64-bit hashes of ids, in tables with open addressing: 11 to 21 bytes an id.

    Two of 10^7 ids share a hash once in 10^5 streams; that costs a look into the blocks, no more.
    """

    def __init__(self, items: int) -> None:
        self._tables: list[array[int]] = []
        self._start(items)

    def add(self, ids: Collection[ItemId]) -> None:
        if len(ids) > self._room:
            self._start(max(len(ids), len(self._tables[-1])))
        self._room -= len(ids)
        table, mask = self._tables[-1], len(self._tables[-1]) - 1
        for hashed in _hashes(ids):
            slot = hashed & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = hashed or 1  # 0 marks a free slot

    def holding(self, ids: Collection[ItemId]) -> set[ItemId]:
        """Those of the ids whose hash is in a table."""
        return {i for table in self._tables for i in _found(table, ids)}

    def _start(self, items: int) -> None:
        slots = 1 << (items * 4 // 3).bit_length()
        self._tables.append(array("q", bytes(8)) * slots)
        self._room = slots * 3 // 4


def _hashes(ids: Iterable[ItemId]) -> Iterator[int]:
    return map(hash, zip(ids, strict=False))  # a tuple's hash mixes; an int's own is the int


def _found(table: array[int], ids: Collection[ItemId]) -> Iterator[ItemId]:
    mask = len(table) - 1
    for item_id, hashed in zip(ids, _hashes(ids), strict=True):
        slot = hashed & mask
        while stored := table[slot]:
            if stored == (hashed or 1):
                yield item_id
                break
            slot = slot + 1 & mask
