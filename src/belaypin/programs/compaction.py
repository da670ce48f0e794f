"""Compaction: the small segments of a stream are packed into full ones, a group in each step.

A step holds the stream row's lock and decodes at most ``BLOCK_ITEMS`` ids. Whatever it moves gets a
new number, as live workers go by numbers: none may come to name other ids than they learned by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from belaypin import segments
from belaypin.program import Program, SqlValue, Statement
from belaypin.programs import ledger
from belaypin.programs.parts import one_pipeline
from belaypin.programs.scope import Name, Scope
from belaypin.times import MAX_US, MIN_US

__all__ = ["Candidate", "Listed", "Packed", "groups", "pack", "streams"]

_STREAMS_AT_ONCE = 100
_NEXT_KIND = {b"i": b"j", b"s": b"t"}
_PARTS_OF_HORIZON = 16
"""A packed segment spans no more of the time down to the horizon: it goes as a whole, or stays."""


class Candidate(NamedTuple):
    """A stream that has small segments."""

    name: Name
    key_id: int


class Listed(NamedTuple):
    """A segment without its payload."""

    seq: int
    level: int
    items: int
    low: bytes
    newest_us: int | None
    size: int

    @property
    def kind(self) -> bytes:
        """The type of its ids."""
        return bytes(self.low[:1])


class Packed(NamedTuple):
    """What a step has packed, or would pack."""

    taken: int = 0
    made: int = 0
    bytes_before: int = 0
    bytes_after: int = 0

    def plus(self, other: Packed) -> Packed:
        """Both together."""
        return Packed(*map(sum, zip(self, other, strict=True)))


def streams(scope: Scope) -> Program[tuple[list[Candidate], Scope | None]]:
    """The first streams that have small segments, of one pipeline of the scope, and what is left of it."""
    part = yield from one_pipeline(scope)
    if part is None:
        return [], None
    limits = {"full_items": ledger.full_items(), "limit": _STREAMS_AT_ONCE}
    rows = yield Statement("compaction.streams", {**part.params(), **limits})
    found = [Candidate((row[0], row[1], row[2]), row[3]) for row in rows]
    is_cut = len(found) == _STREAMS_AT_ONCE
    return found, scope.beyond(found[-1].name) if is_cut else scope.behind(part)


def pack(key_id: int, *, dry_run: bool) -> Program[Packed]:
    """Pack the stream's oldest group of small segments; a dry run tells what all would become."""
    look = "compaction.look" if dry_run else "retention.lock"
    locked = yield Statement(look, {"key_id": key_id})
    if not locked:
        return Packed()
    generation, head_seq, horizon_us = locked[0]
    stream = {"key_id": key_id, "generation": generation}
    rows = yield Statement("compaction.segments", stream)
    found = groups([Listed(*row) for row in rows], horizon_us)
    if dry_run:
        parts = [Packed(len(g), 1, *2 * (sum(s.size for s in g),)) for g in found]
        return Packed(*map(sum, zip(Packed(), *parts, strict=True)))
    group = next(found, None)
    return Packed() if group is None else (yield from _pack(key_id, generation, group, head_seq))


def groups(listed: Sequence[Listed], horizon_us: int) -> Iterator[list[Listed]]:
    """Small segments that may become one: neighbours with ids of one type, oldest first.

    None that may be dropped, or never will be, is packed with one that stays long or will be.
    """
    full, span_us = ledger.full_items(), _span_us(listed, horizon_us)

    def sort(segment: Listed) -> tuple[bytes, bool, int | None]:
        is_past = segment.newest_us is not None and segment.newest_us < horizon_us
        era = segment.newest_us and segment.newest_us // span_us
        return segment.kind, is_past or segment.items >= full, era

    for (_, stays, _), neighbours in groupby(sorted(listed, key=lambda s: (s.kind, s.seq)), sort):
        if not stays:
            yield from (part for part in _parts(neighbours) if len(part) > 1)


def _parts(neighbours: Iterable[Listed]) -> Iterator[list[Listed]]:
    """Neighbours with no more ids together than one segment takes."""
    part: list[Listed] = []
    for segment in neighbours:
        if sum(each.items for each in part) + segment.items > segments.BLOCK_ITEMS:
            yield part
            part = []
        part.append(segment)
    yield part


def _span_us(listed: Sequence[Listed], horizon_us: int) -> int:
    """How long an era is, in which segments may become one: a power of two, so that it stays."""
    if horizon_us == MIN_US:
        return MAX_US - MIN_US  # nothing will be dropped
    newest_us = max((s.newest_us for s in listed if s.newest_us is not None), default=horizon_us)
    longest_us = max(1, (newest_us - horizon_us) // _PARTS_OF_HORIZON)
    return 1 << (longest_us.bit_length() - 1)


def _pack(key_id: int, generation: int, group: list[Listed], head_seq: int) -> Program[Packed]:
    stream: dict[str, SqlValue] = {"key_id": key_id, "generation": generation}
    kind, last_seq = group[0].kind, group[-1].seq
    where = {**stream, "last_seq": last_seq, "kind": kind, "next_kind": _NEXT_KIND[kind]}
    rows = yield Statement("compaction.take", {**where, "first_seq": group[0].seq})
    seqs, levels, tokens, created_us, newest_us, payloads = zip(*sorted(rows), strict=True)
    named = [f"segment {seq} of the ledger (key_id {key_id})" for seq in seqs]
    merged = segments.merge(zip(named, map(bytes, payloads), strict=True), {})
    for number, segment in enumerate(merged, head_seq + 1):
        about = {
            "seq": number,
            "level": max(levels),
            "token": max(tokens),
            "created_us": max(created_us),
            "newest_us": ledger.newest(*newest_us),
        }
        yield Statement("compaction.put", {**stream, **segment._asdict(), **about})
    shift = head_seq + len(merged) - last_seq
    yield Statement("compaction.renumber", {**where, "shift": shift, "beyond": head_seq})
    tell = {"key_id": key_id, "head_seq": head_seq + len(merged) + shift}
    yield Statement("compaction.tell", tell)
    before, after = sum(map(len, payloads)), sum(len(s.payload) for s in merged)
    return Packed(len(rows), len(merged), before, after)
