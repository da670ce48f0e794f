"""Segments: what was packed is unpacked; merging strings together or sorts, with one result."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin.codec import encode_frame
from belaypin.errors import CorruptRecord
from belaypin.ids import ItemId
from belaypin.segments import BLOCK_ITEMS, merge, order_key, pack, unpack

Entries = dict[ItemId, bytes | None]

IDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-9, 9),
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6
    ),
)
ENTRIES = st.dictionaries(
    IDS, st.none() | st.binary(min_size=16, max_size=16).filter(any), max_size=30
)

KINDS: dict[str, Callable[[Random, int, int], ItemId]] = {
    "numbers": lambda random, part, k: part * 500 + k - 700,
    "falling numbers": lambda random, part, k: -(part * 500 + k),
    "far apart": lambda random, part, k: (1 << 62) - 5 + part * 500 + k if part else k - (1 << 63),
    "texts": lambda random, part, k: f"{part * 500 + k:08d}",
    "not ascii": lambda random, part, k: f"é{part * 500 + k:06d}\U0001f600",
    "random": lambda random, part, k: random.randbytes(8).hex(),
    "numbers and texts": lambda random, part, k: k if random.random() < 0.5 else str(k),
}


def merged(parts: list[Entries]) -> Entries:
    """The parts as the ledger merges them: all but the newest are stored."""
    stored = [("a segment", segment.payload) for part in parts[:-1] for segment in pack(part)]
    found: Entries = {}
    for segment in merge(stored, parts[-1]):
        entries = unpack(segment.payload, "a segment")
        assert len(entries) == segment.items <= BLOCK_ITEMS
        keys = [order_key(item_id) for item_id in entries]
        assert all(before < behind for before, behind in pairwise(keys))
        assert (keys[0], keys[-1]) == (segment.low, segment.high)
        assert found.keys().isdisjoint(entries)
        found.update(entries)
    return found


def united(parts: list[Entries]) -> Entries:
    return {item_id: mark for part in parts for item_id, mark in part.items()}


@given(st.lists(ENTRIES, min_size=1, max_size=6))
def test_merging_keeps_every_id_with_its_newest_fingerprint(parts: list[Entries]) -> None:
    assert merged(parts) == united(parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("marked", [0, 0.3, 1])
def test_merging_what_follows_each_other_and_what_does_not(kind: str, marked: float) -> None:
    random = Random(f"{kind} {marked}")
    for length, count in ((1, 64), (2, 5), (500, 64)):
        parts: list[Entries] = [
            {
                KINDS[kind](random, part, k): random.randbytes(16)
                if random.random() < marked
                else None
                for k in range(length)
            }
            for part in range(count)
        ]
        assert merged(parts) == united(parts)


def test_full_segments_are_filled_and_split() -> None:
    ids: list[Entries] = [dict.fromkeys(range(n, n + 30_000)) for n in range(0, 150_000, 30_000)]
    assert merged(ids) == united(ids)


@pytest.mark.parametrize(
    "raw",
    [
        b"x\x00\x01\x00\x00\x00" + bytes(8),
        b"i\x02\x01\x00\x00\x00" + bytes(8),
        b"i\x00\x02\x00\x00\x00" + bytes(8),
        b"i\x00\x01\x00\x00\x00" + bytes(7),
        b"i\x01\x01\x00\x00\x00" + bytes(8),
        b"s\x00\x02\x00\x00\x00one",
        b"s\x01\x02\x00\x00\x00a\0b",
        b"s\x00\x01\x00\x00\x00\xff\xff",
    ],
)
def test_what_is_no_list_of_ids_is_named_alone_and_when_merged(raw: bytes) -> None:
    payload = encode_frame(raw)
    with pytest.raises(CorruptRecord, match="segment 7"):
        unpack(payload, "segment 7")
    with pytest.raises(CorruptRecord, match="segment 7"):
        merge([("segment 7", payload)], {"z": None})
