"""Segments: how a stream's committed item ids lie in the database.

A segment is one row: the ids of one commit (or of several, merged), sorted, delta-coded when they
are numbers, and compressed. Where the stream detects changes, a fingerprint stands beside each id.
Ids stay raw, so they can be listed and searched; real ids compress to a few bytes each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from operator import sub
from sys import byteorder
from typing import NamedTuple

from belaypin.codec import decode_frame, encode_frame
from belaypin.errors import CorruptRecord
from belaypin.ids import ItemId

__all__ = [
    "BLOCK_ITEMS",
    "FINGERPRINT_BYTES",
    "MARK_BYTES",
    "Block",
    "Segment",
    "merge",
    "order_key",
    "pack",
    "unpack",
    "unpack_raw",
]

BLOCK_ITEMS = 65_536
"""At most this many ids lie in one segment: what a single look-up may have to decode."""

FINGERPRINT_BYTES = 16
MARK_BYTES = 8 + FINGERPRINT_BYTES
"""A revision and a fingerprint: see revisions.py."""

_WIDTHS = {b"\x00": 0, b"\x01": FINGERPRINT_BYTES, b"\x02": MARK_BYTES}
_MARKED = {width: marked for marked, width in _WIDTHS.items()}
_SEGMENT_LEVEL = 1  # zstd level: 3 is a third slower and saves 2 % on real ids


class Block(NamedTuple):
    """What is known of a segment without reading its payload."""

    seq: int
    level: int
    items: int
    low: bytes
    high: bytes


class Segment(NamedTuple):
    """A packed segment, ready to be stored. ``low`` and ``high`` are the order keys of its ends."""

    items: int
    low: bytes
    high: bytes
    raw_bytes: int
    payload: bytes


def order_key(item_id: ItemId) -> bytes:
    """Bytes that sort as the ids of one type sort; numbers before text.

    >>> order_key(-1) < order_key(2) < order_key(10) < order_key("10") < order_key("9")
    True
    """
    if isinstance(item_id, int):
        return b"i" + (item_id + (1 << 63)).to_bytes(8, "big")
    return b"s" + item_id.encode()


def pack(entries: Mapping[ItemId, bytes | None]) -> list[Segment]:
    """Pack ids (with their fingerprints or None) into segments of at most ``BLOCK_ITEMS`` ids.

    Numbers and text never share a segment: their order and their coding differ.
    """
    return [_framed(run) for run in _runs(entries)]


def unpack(payload: bytes, what: str) -> dict[ItemId, bytes | None]:
    """The ids of a stored segment, each with its fingerprint or None.

    Raises CorruptRecord, naming ``what``, when the payload is not what was written.
    """
    return unpack_raw(decode_frame(payload, what=what).raw, what)


def unpack_raw(raw: bytes, what: str) -> dict[ItemId, bytes | None]:
    """``unpack`` for what was in the frame."""
    return _entries(_stored(raw, what), what)


def merge(
    stored: Iterable[tuple[str, bytes]], newest: Mapping[ItemId, bytes | None]
) -> list[Segment]:
    """Merge stored segments (what each is, and its payload; oldest first) and newer entries.

    Ids that grow with time lie in segments that follow each other: those are strung together as
    they are. Others are sorted anew.
    """
    frames = ((what, decode_frame(payload, what=what)) for what, payload in stored)
    named = [(what, _stored(frame.raw, what)) for what, frame in frames]
    try:
        strung = _strung([*(run for _, run in named), *_runs(newest)])
    except UnicodeDecodeError:
        strung = None  # damaged: decoding them one by one tells which
    if strung is not None:
        return [_framed(run) for run in strung]
    merged: dict[ItemId, bytes | None] = {}
    for what, run in named:
        merged.update(_entries(run, what))
    return pack({**merged, **newest})


class _Run(NamedTuple):
    """Sorted ids of one type, coded, and their fingerprints, if any of them has one."""

    kind: bytes
    items: int
    coded: bytes
    prints: bytes

    @property
    def width(self) -> int:
        """How many bytes stand beside each id."""
        return len(self.prints) // self.items

    @property
    def first(self) -> ItemId:
        if self.kind == b"i":
            return _signed(int.from_bytes(self.coded[:8], "little"))
        return self.coded[: self.coded.find(b"\0") % (len(self.coded) + 1)].decode()

    @property
    def last(self) -> ItemId:
        if self.kind == b"i":
            return sum(_deltas(self.coded)[1:], int(self.first))
        return self.coded[self.coded.rfind(b"\0") + 1 :].decode()


def _runs(entries: Mapping[ItemId, bytes | None]) -> list[_Run]:
    sorts: list[Sequence[ItemId]]
    try:
        sorts = [sorted(entries)]
    except TypeError:  # numbers and text have no order
        sorts = [
            sorted(i for i in entries if isinstance(i, int)),
            sorted(i for i in entries if isinstance(i, str)),
        ]
    return [_run(block, entries) for ids in sorts for block in _blocks(ids)]


def _run(ids: Sequence[ItemId], entries: Mapping[ItemId, bytes | None]) -> _Run:
    kind = b"i" if isinstance(ids[0], int) else b"s"
    coded = _encode_numbers(ids) if kind == b"i" else "\0".join(ids).encode()  # type: ignore[arg-type]
    prints = list(map(entries.__getitem__, ids)) if any(entries.values()) else []
    if not any(prints):
        return _Run(kind, len(ids), coded, b"")
    # Beside marks a fingerprint alone has zeros where the revision would be: no revision is that.
    width = max(len(p) for p in prints if p)
    return _Run(kind, len(ids), coded, b"".join((p or b"").rjust(width, b"\0") for p in prints))


def _blocks(ids: Sequence[ItemId]) -> Iterator[Sequence[ItemId]]:
    for start in range(0, len(ids), BLOCK_ITEMS):
        yield ids[start : start + BLOCK_ITEMS]


def _framed(run: _Run) -> Segment:
    head = (run.kind, _MARKED[run.width], run.items.to_bytes(4, "little"))
    raw = b"".join((*head, run.coded, run.prints))
    payload = encode_frame(raw, level=_SEGMENT_LEVEL)
    return Segment(run.items, order_key(run.first), order_key(run.last), len(raw), payload)


def _stored(raw: bytes, what: str) -> _Run:
    if raw[:1] not in (b"i", b"s") or raw[1:2] not in _WIDTHS:
        raise CorruptRecord(f"{what}: these are not ids (they begin with {raw[:2]!r}). Run verify.")
    count = int.from_bytes(raw[2:6], "little")
    prints_at = len(raw) - count * _WIDTHS[raw[1:2]]
    run = _Run(raw[:1], count, raw[6 : max(6, prints_at)], raw[prints_at:])
    found = len(run.coded) / 8 if run.kind == b"i" else run.coded.count(b"\0") + 1
    if prints_at < 6 or found != count:
        raise CorruptRecord(
            f"{what}: these are not ids ({count} were stored, not {found:g}). Run verify."
        )
    return run


def _entries(run: _Run, what: str) -> dict[ItemId, bytes | None]:
    try:
        ids = _decoded(run)
        if not run.prints:
            return dict.fromkeys(ids)
        return dict(zip(ids, _decode_prints(run.prints, run.width), strict=True))
    except (ValueError, IndexError) as error:
        raise CorruptRecord(f"{what}: these are not ids ({error}). Run verify.") from error


def _decoded(run: _Run) -> Sequence[ItemId]:
    return _decode_numbers(run.coded) if run.kind == b"i" else run.coded.decode().split("\0")


def _strung(runs: Sequence[_Run]) -> list[_Run] | None:
    """The runs strung together, if they are of one kind and none overlaps another; else None."""
    if len({(run.kind, run.width) for run in runs}) > 1:
        return None
    runs = sorted(runs, key=lambda run: run.first)
    lasts = [run.last for run in runs]
    if any(last >= run.first for last, run in zip(lasts, runs[1:], strict=False)):  # type: ignore[operator]
        return None
    groups: list[list[_Run]] = []
    room = 0
    for index, run in enumerate(runs):
        if run.items > room:
            groups.append([run])
            room = BLOCK_ITEMS - run.items
        else:
            groups[-1].append(_following(run, lasts[index - 1]))
            room -= run.items
    return [_joined(group) for group in groups]


def _following(run: _Run, last: ItemId) -> _Run:
    """The run as it stands behind another one, which ends with ``last``."""
    if run.kind == b"s":
        return run
    step = int(run.first) - int(last)
    return run._replace(coded=step.to_bytes(8, "little") + run.coded[8:])


def _joined(runs: Sequence[_Run]) -> _Run:
    separator = b"" if runs[0].kind == b"i" else b"\0"
    coded = separator.join(run.coded for run in runs)
    prints = b"".join(run.prints for run in runs)
    return _Run(runs[0].kind, sum(run.items for run in runs), coded, prints)


def _encode_numbers(ids: Sequence[ItemId]) -> bytes:
    """The first number, then the differences: a run of consecutive ids becomes a run of ones."""
    deltas = array("Q", [ids[0] & 0xFFFF_FFFF_FFFF_FFFF])  # type: ignore[operator]
    deltas.extend(map(sub, islice(ids, 1, None), ids))
    if byteorder == "big":
        deltas.byteswap()
    return deltas.tobytes()


def _decode_numbers(coded: bytes) -> list[ItemId]:
    deltas = _deltas(coded)
    return list(accumulate(islice(deltas, 1, None), initial=_signed(deltas[0])))


def _deltas(coded: bytes) -> array[int]:
    deltas = array("Q", coded)
    if byteorder == "big":
        deltas.byteswap()
    return deltas


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _decode_prints(coded: bytes, width: int) -> Iterator[bytes | None]:
    nothing, no_revision = bytes(width), bytes(MARK_BYTES - FINGERPRINT_BYTES)
    for start in range(0, len(coded), width):
        found = coded[start : start + width]
        if width == MARK_BYTES and found != nothing and found.startswith(no_revision):
            yield found[len(no_revision) :]
        else:
            yield None if found == nothing else found
