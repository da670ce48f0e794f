"""Recount: a stream's ledger read through, segment by segment; each id must be there once.

Memory is bounded. A ledger of at most ``LIMIT_ITEMS`` ids is read once. A larger one is cut where
no segment reaches across (ids that grow with time), and what is still too large (random ids) is
read several times, each time for another share of the ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import ge
from typing import NamedTuple

from belaypin.codec import decode_frame
from belaypin.errors import BelaypinError, CorruptRecord, SchemaTooNew
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.membership import LIMIT_ITEMS
from belaypin.programs.inspection import error, warning
from belaypin.programs.upkeep import LedgerPage, SegmentRow, Standing
from belaypin.records.reports import Finding
from belaypin.segments import order_key, unpack_raw

__all__ = ["Pass", "Recount"]

Ids = Mapping[ItemId, bytes | None]


class Pass(NamedTuple):
    """One reading of some segments, for one of ``shares`` parts of their ids."""

    seqs: tuple[int, ...]
    share: int
    shares: int

    def of(self, ids: Ids) -> Ids:
        """The ids of this share."""
        if self.shares == 1:
            return ids
        return {i: p for i, p in ids.items() if hash((i,)) % self.shares == self.share}


class Recount:
    """What was read of one stream's ledger so far.

    Give each page to ``take``; then, for each of ``passes``, each of its segments to ``take_again``,
    with ``end_pass`` behind it; then read ``findings``. If ``has_moved`` turns true, a live worker
    has committed meanwhile: begin anew.
    """

    def __init__(self, key: Key | None, key_id: int, limit_items: int = LIMIT_ITEMS) -> None:
        self.has_moved = False
        self.last_seq = 0
        self.segments = 0
        self.items = 0
        self.by_itself: list[Finding] = []
        """What is wrong with single segments, whatever the workers do meanwhile."""
        self._key = key
        self._key_id = key_id
        self._limit_items = limit_items
        self._standing: Standing | None = None
        self._extents: list[_Extent] = []
        self._held: set[ItemId] = set()
        self._held_items = 0
        self._is_held = True
        self._distinct = 0
        self._twice: list[Finding] = []
        self._is_whole = True

    def take(self, page: LedgerPage) -> None:
        """Take in the next page of segments, checking each by itself."""
        if not self._stands(page.standing):
            return
        for row in page.segments:
            self.last_seq = row.seq
            self.segments += 1
            ids = self._checked(row)
            generation = self._standing.generation if self._standing is not None else 0
            if ids is None or row.generation > generation:
                self._is_whole = False
            elif row.generation == generation:
                self.items += len(ids)
                self._count(row.seq, ids)

    def passes(self) -> list[Pass]:
        """What must be read again, as the ledger was too large to be held at once."""
        if self._is_held:
            return []
        found = []
        for extents in _clusters(self._extents):
            shares = -(-sum(e.items for e in extents) // self._limit_items)
            seqs = tuple(sorted(e.seq for e in extents))
            found += [Pass(seqs, share, shares) for share in range(shares)]
        return found

    def take_again(self, part: Pass, page: LedgerPage) -> None:
        """Take in one segment again, for a share of its ids."""
        if not self._stands(page.standing):
            return
        for row in page.segments:
            ids = unpack_raw(decode_frame(row.payload, what="").raw, "")  # it decoded before
            self._add(row.seq, part.of(ids))

    def end_pass(self) -> None:
        """The pass is over, and what it held is counted."""
        self._distinct += len(self._held)
        self._held = set()

    def findings(self) -> Iterator[Finding]:
        """All that is wrong; call it once, at the end, and only if nothing has moved."""
        self.end_pass()
        yield from self.by_itself
        yield from self._twice
        standing = self._standing
        if self._is_whole and standing is not None and not standing.agrees_with(self._distinct):
            yield error(
                "items-differ",
                self._key,
                "ledger",
                f"Its counter says {standing.items} items, of which {standing.dropped} were dropped "
                f"below the horizon; the ledger has {self._distinct}.",
                f"Compare with your own tables. If they agree with the ledger, set items = "
                f"{self._distinct + standing.dropped} in belaypin_checkpoint where key_id = "
                f"{self._key_id}; if they have more, segments are lost: restore belaypin_segment from "
                f"a backup.",
            )

    def _stands(self, standing: Standing | None) -> bool:
        if self._standing is None:
            self._standing = standing
        self.has_moved = self.has_moved or standing is None or standing != self._standing
        return not self.has_moved

    def _count(self, seq: int, ids: Ids) -> None:
        if not ids:
            return
        in_order = list(ids)
        self._extents.append(_Extent(*_ends(in_order), seq, len(ids)))
        self._held_items += len(ids)
        if self._is_held and self._held_items > self._limit_items:
            self._is_held = False
            self._held, self._twice = set(), []
        if self._is_held:
            self._add(seq, ids)

    def _add(self, seq: int, ids: Ids) -> None:
        # An id may stand in the ledger again only with the fingerprint of its newer content.
        twice = [i for i in self._held.intersection(ids) if ids[i] is None]
        if twice:
            self._twice.append(
                error(
                    "id-twice",
                    self._key,
                    f"segment {seq}",
                    f"{len(twice)} of its ids are in an older segment too, such as {twice[0]!r}.",
                    "Look whether their rows were doubled in your own tables. The ledger itself "
                    "can stay as it is: they count as committed either way.",
                )
            )
        self._held.update(ids)

    def _checked(self, row: SegmentRow) -> Ids | None:
        """The ids of a segment; None if they can't be read. Notes what is wrong with it."""
        where = f"segment {row.seq}"
        advice = (
            f"Restore this row from a backup (belaypin_segment, key_id = {self._key_id}, seq = "
            f"{row.seq}). Until then workers that need it stop with CorruptRecord. If you delete "
            f"it, its {row.items} items count as new: do so only if your tables refuse doubles."
        )
        try:
            if not isinstance(row.payload, bytes):
                raise CorruptRecord(f"{where} is no bytes but {type(row.payload).__name__}.")
            raw = decode_frame(row.payload, what=where).raw
            ids = unpack_raw(raw, where)
        except SchemaTooNew as newer:
            upgrade = "Upgrade belaypin here, and verify again with the newer version."
            self.by_itself.append(warning("newer-record", self._key, where, f"{newer}", upgrade))
            return None
        except BelaypinError as damage:
            problem = f"{damage}"
            self.by_itself.append(error("segment-corrupt", self._key, where, problem, advice))
            return None
        in_order = list(ids)
        if not _is_in_order(in_order):
            problem = "Its ids are not in order, or not of one type, and no commit writes that."
            self.by_itself.append(error("segment-corrupt", self._key, where, problem, advice))
            return None
        self.by_itself.extend(self._compared(row, len(raw), in_order))
        return ids

    def _compared(
        self, row: SegmentRow, raw_bytes: int, ids: Sequence[ItemId]
    ) -> Iterator[Finding]:
        """The segment's columns against its payload, which is what was written."""
        where = f"segment {row.seq}"
        low, high = _ends(ids)
        true = {"items": len(ids), "raw_bytes": raw_bytes, "low": low, "high": high}
        wrong = [name for name, value in true.items() if getattr(row, name) != value]
        if wrong:
            shown = ", ".join(f"{n} = {getattr(row, n)!r}, not {true[n]!r}" for n in wrong)
            yield error(
                "segment-disagrees",
                self._key,
                where,
                f"Its columns disagree with its payload: {shown}. Ids may be overlooked.",
                "Stop the key's workers, then set these columns to what the payload says.",
            )
        if self._standing is not None and row.generation > self._standing.generation:
            yield error(
                "segment-generation",
                self._key,
                where,
                f"It is of generation {row.generation}; the key is at {self._standing.generation}.",
                "Restore the key's row of belaypin_checkpoint from the same backup as its ledger.",
            )
        if row.token <= 0 or row.level < 0 or row.seq <= 0:
            yield error(
                "segment-impossible",
                self._key,
                where,
                f"Its token is {row.token}, its level {row.level}: no commit wrote that.",
                "Restore this row from a backup.",
            )


class _Extent(NamedTuple):
    low: bytes
    high: bytes
    seq: int
    items: int


def _clusters(extents: Sequence[_Extent]) -> Iterator[list[_Extent]]:
    """The segments that may share ids, directly or through others."""
    cluster: list[_Extent] = []
    reach = b""
    for extent in sorted(extents):
        if cluster and extent.low > reach:
            yield cluster
            cluster, reach = [], b""
        cluster.append(extent)
        reach = max(reach, extent.high)
    if cluster:
        yield cluster


def _ends(ids: Sequence[ItemId]) -> tuple[bytes, bytes]:
    return order_key(ids[0]), order_key(ids[-1])


def _is_in_order(ids: Sequence[ItemId]) -> bool:
    """Whether these are ids of one type, each once and in order, within the limits of ids."""
    if not ids or len(set(map(type, ids))) > 1 or any(map(ge, ids, islice(ids, 1, None))):
        return False
    try:
        return bool(_ends(ids))
    except (OverflowError, UnicodeEncodeError):
        return False
