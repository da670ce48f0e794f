"""Frames with a dictionary: what comes back was stored, and all damage is seen."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin import dictionaries
from belaypin.codec import (
    Frame,
    decode_frame,
    dictionary_of,
    dump_state,
    encode_frame,
    with_dictionary,
)
from belaypin.dictionaries import MAX_DICTIONARY_BYTES, MAX_STATE_BYTES, Dictionary, train
from belaypin.errors import CorruptRecord, SchemaTooNew, UsageError

CHANCE = random.Random(7)


def state(number: int) -> bytes:
    name = "".join(CHANCE.choices("abcdefghij", k=12))
    return dump_state({"id": number, "name": name, "cursor": None, "location": "on the quay"})


STATES = [state(number) for number in range(200)]
DICTIONARY = Dictionary("p", "s", train(STATES))
OTHER = Dictionary("p", "other", DICTIONARY.content)
FRAME = encode_frame(STATES[0], schema_version=3, dictionary=DICTIONARY)


@pytest.fixture(autouse=True)
def one_that_is_known() -> Iterator[None]:
    dictionaries._known.clear()
    dictionaries.remember(DICTIONARY)
    yield
    dictionaries._known.clear()


def test_a_small_state_gets_smaller() -> None:
    assert dictionary_of(FRAME) == DICTIONARY.dictionary_id
    assert len(FRAME) < 0.8 * len(encode_frame(STATES[0], schema_version=3))


@given(
    st.one_of(st.binary(max_size=MAX_STATE_BYTES + 9), st.sampled_from(STATES)), st.integers(0, 9)
)
def test_frames_round_trip(raw: bytes, schema_version: int) -> None:
    dictionaries.remember(DICTIONARY)
    plain = encode_frame(raw, schema_version=schema_version)
    frame = encode_frame(raw, schema_version=schema_version, dictionary=DICTIONARY)
    assert decode_frame(frame, what="it") == Frame(raw, schema_version)
    assert len(frame) <= len(plain)
    assert with_dictionary(plain, DICTIONARY) == frame


def test_every_flipped_bit_is_seen() -> None:
    undetected = []
    for bit in range(len(FRAME) * 8):
        damaged = bytearray(FRAME)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decode_frame(bytes(damaged), what="it")
        except CorruptRecord:
            continue
        undetected.append(bit)
    assert undetected == []


def test_every_truncation_is_seen() -> None:
    for size in range(len(FRAME)):
        with pytest.raises(CorruptRecord):
            decode_frame(FRAME[:size], what="it")


def handmade(payload: bytes, raw_bytes: int, codec: int = 2) -> bytes:
    header = struct.pack(">2sBBII", b"\xb5P", 1, codec, 0, raw_bytes)
    return header + hashlib.blake2b(header + payload, digest_size=8).digest() + payload


PAYLOAD = FRAME[20:]


@pytest.mark.parametrize(
    "frame",
    [
        handmade(b"", 3),
        handmade(b"1234567", 3),
        handmade(PAYLOAD[:8], 0),
        handmade(PAYLOAD[:8], 3),
        handmade(PAYLOAD, len(STATES[0]) - 1),
        handmade(PAYLOAD, len(STATES[0]) + 1),
        handmade(PAYLOAD, 0),
        handmade(PAYLOAD[:-1], len(STATES[0])),
        handmade(PAYLOAD + b"x", len(STATES[0])),
        handmade(b"\xff" * 8 + PAYLOAD[8:], len(STATES[0])),
        handmade(OTHER.dictionary_id.to_bytes(8) + PAYLOAD[8:], len(STATES[0])),
    ],
)
def test_a_frame_that_lies_under_a_right_checksum_is_damaged(frame: bytes) -> None:
    with pytest.raises(CorruptRecord, match="^it is damaged"):
        decode_frame(frame, what="it")


def test_a_bomb_is_stopped() -> None:
    bomb = encode_frame((STATES[0] * 999)[:MAX_STATE_BYTES], dictionary=DICTIONARY)
    assert dictionary_of(bomb) is not None
    with pytest.raises(CorruptRecord, match="claims 16384 bytes"):
        decode_frame(bomb, what="it", max_raw_bytes=100)
    with pytest.raises(CorruptRecord, match="not one whole"):
        decode_frame(handmade(bomb[20:], 100), what="it")


def test_an_unknown_dictionary_is_named() -> None:
    dictionaries._known.clear()
    with pytest.raises(CorruptRecord, match=f"dictionary {DICTIONARY.dictionary_id} is not in"):
        decode_frame(FRAME, what="it")


def test_what_is_no_frame_needs_no_dictionary() -> None:
    for thing in (None, b"", "text", FRAME[:27], encode_frame(STATES[0]), b"x" * 99):
        assert dictionary_of(thing) is None
    assert dictionary_of(handmade(b"\xff" * 8, 3)) is None  # no database could hold that id


def test_the_next_kind_of_frame_is_not_called_damaged() -> None:
    with pytest.raises(SchemaTooNew, match="codec 3"):
        decode_frame(handmade(PAYLOAD, len(STATES[0]), codec=3), what="it")


def test_a_dictionary_is_named_by_its_kind_and_content() -> None:
    names = {
        Dictionary(*args).dictionary_id
        for args in [
            ("p", "s", DICTIONARY.content),
            ("ps", "", DICTIONARY.content),
            ("", "ps", DICTIONARY.content),
            ("p", "s", DICTIONARY.content + b"."),
        ]
    }
    assert len(names) == 4
    assert all(0 <= name < 2**63 for name in names)
    assert DICTIONARY.dictionary_id == Dictionary("p", "s", bytes(DICTIONARY.content)).dictionary_id


def test_training_is_bounded_and_repeatable() -> None:
    assert train(STATES) == DICTIONARY.content
    assert len(train([CHANCE.randbytes(9000) for _ in range(99)])) <= MAX_DICTIONARY_BYTES
    for few in ([], STATES[:3], [b""] * 500):
        with pytest.raises(UsageError, match="not enough to train"):
            train(few)


def test_only_so_many_are_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionaries, "_MAX_KNOWN", 3)
    many = [Dictionary("p", f"{n}", DICTIONARY.content) for n in range(5)]
    for each in many:
        dictionaries.remember(each)
    assert [dictionaries.known(each.dictionary_id) for each in many] == [None, None, *many[2:]]
