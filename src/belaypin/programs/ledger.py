"""The ledger: a stream's committed ids, packed into segments that merge as they pile up."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import itemgetter

from belaypin.ids import ItemId
from belaypin.membership import Membership
from belaypin.program import Program, Statement
from belaypin.segments import BLOCK_ITEMS, Block, Segment, merge, pack, unpack

__all__ = ["FAN_OUT", "Appended", "append", "full_items", "newest", "read", "refresh", "resolve"]

FAN_OUT = 64
"""Segments of one level that are merged into one of the next."""

_FULL_ITEMS = BLOCK_ITEMS // 4  # merging segments that are this large would save no look-up


def full_items() -> int:
    """A segment with so many ids is left as it is."""
    return _FULL_ITEMS


class Appended:
    """What a commit did to the segments of a stream: told to its membership once it is durable."""

    def __init__(self, head_seq: int) -> None:
        self.head_seq = head_seq
        self.removed: list[int] = []
        self.added: list[Block] = []

    def apply(self, membership: Membership, entries: Mapping[ItemId, bytes | None]) -> None:
        is_known = not entries or membership.add(self.head_seq, entries)
        membership.replaced(self.removed, self.added, self.head_seq, is_known=is_known)


def refresh(key_id: int, generation: int, membership: Membership, head_seq: int) -> Program[None]:
    """Learn which segments there are, if somebody has added some since."""
    if membership.head_seq == head_seq:
        return
    rows = yield Statement("segment.list", {"key_id": key_id, "generation": generation})
    membership.refresh((Block(*row) for row in rows), head_seq)


def resolve(
    key_id: int, membership: Membership, ids: Collection[ItemId], *, with_content: bool = False
) -> Program[None]:
    """Read what must be read for ``membership`` to be exact about these ids."""
    wanted = membership.doubtful(ids, with_content=with_content)
    blocks = [] if membership.is_screened else membership.holding(wanted)
    while membership.make_room(blocks):
        wanted = membership.doubtful(ids, with_content=with_content)
        blocks = membership.holding(wanted)
    if membership.is_screened:
        for seq in sorted(membership.unscreened):
            stored = yield from read(key_id, seq)
            membership.screen(seq, stored)
        wanted = membership.screened(wanted)
        blocks = membership.holding(wanted)
    for block in blocks:
        left = wanted
        if membership.is_screened:
            left = wanted - membership.settled(wanted, block.seq, with_content=with_content)
        if left:
            stored = yield from read(key_id, block.seq)
            membership.learn(block.seq, stored, left)


def read(key_id: int, seq: int) -> Program[dict[ItemId, bytes | None]]:
    """The ids of one segment, each with its fingerprint or None."""
    rows = yield Statement("segment.read", {"key_id": key_id, "seq": seq})
    return unpack(rows[0][0], _named(key_id, seq))


def append(
    key_id: int,
    generation: int,
    membership: Membership,
    entries: Mapping[ItemId, bytes | None],
    token: int,
    newest_us: int | None = None,
    barrier_seq: int = 0,
) -> Program[Appended]:
    """Add the ids of a commit. The caller holds the stream row's lock and has refreshed.

    ``newest_us``: no item has a later event time; None if it is not known. Segments up to
    ``barrier_seq`` belong to a savepoint and stay as they are.
    """
    done = Appended(membership.head_seq)
    if not entries:
        return done
    level = 0
    stored: list[tuple[str, bytes]] = []
    while _is_crowded(membership, level, barrier_seq):
        taken = yield from _take(key_id, generation, level, barrier_seq)
        done.removed += [seq for seq, _, _ in taken]
        stored = [*((_named(key_id, seq), payload) for seq, payload, _ in taken), *stored]
        newest_us = newest(newest_us, *(of_segment for _, _, of_segment in taken))
        level += 1
    for segment in merge(stored, entries) if stored else pack(entries):
        done.head_seq += 1
        yield _insert(key_id, done.head_seq, generation, level, segment, token, newest_us)
        done.added.append(Block(done.head_seq, level, segment.items, segment.low, segment.high))
    return done


def newest(*times_us: int | None) -> int | None:
    """The latest of the segments' newest event times; None if one of them is not known."""
    known_us = [us for us in times_us if us is not None]
    return max(known_us) if len(known_us) == len(times_us) else None


def _is_crowded(membership: Membership, level: int, barrier_seq: int) -> bool:
    """Whether the segments of a level are many and small enough to merge."""
    if membership.levels[level] < FAN_OUT - 1:
        return False
    sizes = [
        block.items
        for block in membership.blocks.values()
        if block.level == level and block.seq > barrier_seq
    ]
    return len(sizes) >= FAN_OUT - 1 and sum(sizes) < _FULL_ITEMS * len(sizes)


def _take(
    key_id: int, generation: int, level: int, barrier_seq: int
) -> Program[list[tuple[int, bytes, int | None]]]:
    """Remove the segments of a level; their payloads and newest event times, oldest first."""
    where = {
        "key_id": key_id,
        "generation": generation,
        "level": level,
        "barrier_seq": barrier_seq,
    }
    rows = yield Statement("segment.take", where)
    return sorted(
        ((seq, payload, newest_us) for seq, payload, newest_us in rows), key=itemgetter(0)
    )


def _named(key_id: int, seq: int) -> str:
    return f"segment {seq} of the ledger (key_id {key_id})"


def _insert(
    key_id: int,
    seq: int,
    generation: int,
    level: int,
    segment: Segment,
    token: int,
    newest_us: int | None,
) -> Statement:
    return Statement(
        "segment.append",
        {
            "key_id": key_id,
            "seq": seq,
            "generation": generation,
            "level": level,
            "items": segment.items,
            "low": segment.low,
            "high": segment.high,
            "raw_bytes": segment.raw_bytes,
            "token": token,
            "payload": segment.payload,
            "newest_us": newest_us,
        },
    )
