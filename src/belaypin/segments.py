"""Segments: how a stream's committed item ids lie in the database.

A segment is one row: the ids of one commit (or of several, merged), sorted, delta-coded when they
are numbers, and compressed. Where the stream detects changes, a fingerprint stands beside each id.
Ids stay raw, so they can be listed and searched; real ids compress to a few bytes each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
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
    "Block",
    "Segment",
    "order_key",
    "pack",
    "unpack",
    "unpack_raw",
]

BLOCK_ITEMS = 65_536
"""At most this many ids lie in one segment: what a single look-up may have to decode."""

FINGERPRINT_BYTES = 16
_NO_FINGERPRINT = bytes(FINGERPRINT_BYTES)
_PLAIN, _WITH_FINGERPRINTS = b"\x00", b"\x01"
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
    runs: list[Sequence[ItemId]]
    try:
        runs = [sorted(entries)]
    except TypeError:  # numbers and text have no order
        runs = [
            sorted(i for i in entries if isinstance(i, int)),
            sorted(i for i in entries if isinstance(i, str)),
        ]
    return [_pack_block(block, entries) for ids in runs for block in _blocks(ids)]


def unpack(payload: bytes, what: str) -> dict[ItemId, bytes | None]:
    """The ids of a stored segment, each with its fingerprint or None.

    Raises CorruptRecord, naming ``what``, when the payload is not what was written.
    """
    return unpack_raw(decode_frame(payload, what=what).raw, what)


def unpack_raw(raw: bytes, what: str) -> dict[ItemId, bytes | None]:
    """``unpack`` for what was in the frame."""
    try:
        return _unpack(raw, what)
    except (ValueError, IndexError) as error:
        raise CorruptRecord(f"{what}: these are not ids ({error}). Run verify.") from error


def _unpack(raw: bytes, what: str) -> dict[ItemId, bytes | None]:
    kind, marked, body = raw[:1], raw[1:2], raw[2:]
    if kind not in (b"i", b"s") or marked not in (_PLAIN, _WITH_FINGERPRINTS):
        raise ValueError(f"they begin with {raw[:2]!r}")
    count = int.from_bytes(body[:4], "little")
    prints_at = len(body) - (count * FINGERPRINT_BYTES if marked == _WITH_FINGERPRINTS else 0)
    coded = body[4:prints_at]
    ids: Sequence[ItemId] = _decode_numbers(coded) if kind == b"i" else coded.decode().split("\0")
    if len(ids) != count:
        raise CorruptRecord(f"{what}: {count} ids were stored, {len(ids)} were read. Run verify.")
    if marked == _PLAIN:
        return dict.fromkeys(ids)
    return dict(zip(ids, _decode_prints(body[prints_at:]), strict=True))


def _blocks(ids: Sequence[ItemId]) -> Iterator[Sequence[ItemId]]:
    for start in range(0, len(ids), BLOCK_ITEMS):
        yield ids[start : start + BLOCK_ITEMS]


def _pack_block(ids: Sequence[ItemId], entries: Mapping[ItemId, bytes | None]) -> Segment:
    prints = list(map(entries.__getitem__, ids)) if any(entries.values()) else []
    plain = not any(prints)
    kind = b"i" if isinstance(ids[0], int) else b"s"
    coded = _encode_numbers(ids) if kind == b"i" else "\0".join(ids).encode()  # type: ignore[arg-type]
    raw = b"".join(
        (
            kind,
            _PLAIN if plain else _WITH_FINGERPRINTS,
            len(ids).to_bytes(4, "little"),
            coded,
            b"" if plain else b"".join(p or _NO_FINGERPRINT for p in prints),
        )
    )
    payload = encode_frame(raw, level=_SEGMENT_LEVEL)
    return Segment(len(ids), order_key(ids[0]), order_key(ids[-1]), len(raw), payload)


def _encode_numbers(ids: Sequence[ItemId]) -> bytes:
    """The first number, then the differences: a run of consecutive ids becomes a run of ones."""
    deltas = array("Q", [ids[0] & 0xFFFF_FFFF_FFFF_FFFF])  # type: ignore[operator]
    deltas.extend(map(sub, islice(ids, 1, None), ids))
    if byteorder == "big":
        deltas.byteswap()
    return deltas.tobytes()


def _decode_numbers(coded: bytes) -> list[ItemId]:
    deltas = array("Q", coded)
    if byteorder == "big":
        deltas.byteswap()
    first = deltas[0] - (1 << 64) if deltas[0] >> 63 else deltas[0]
    return list(accumulate(islice(deltas, 1, None), initial=first))


def _decode_prints(coded: bytes) -> Iterator[bytes | None]:
    for start in range(0, len(coded), FINGERPRINT_BYTES):
        fingerprint = coded[start : start + FINGERPRINT_BYTES]
        yield None if fingerprint == _NO_FINGERPRINT else fingerprint
