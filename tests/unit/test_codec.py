"""Frames and states: damage is always seen, memory is bounded, and what comes back was stored."""

from __future__ import annotations

import enum
import hashlib
import random
import struct
import sys
import tracemalloc
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from belaypin.codec import (
    FRAME_OVERHEAD_BYTES,
    MAX_RAW_BYTES,
    Frame,
    decode_frame,
    dump_state,
    encode_frame,
    load_state,
)
from belaypin.errors import CorruptRecord, SchemaTooNew, UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

REPETITIVE = b"user:1234 page 17; " * 12
RANDOM = random.Random(7).randbytes(200)
FRAMES = {
    "empty": encode_frame(b""),
    "raw": encode_frame(b'{"page":3}', schema_version=7),
    "incompressible": encode_frame(RANDOM),
    "compressed": encode_frame(REPETITIVE, schema_version=2**32 - 1),
}


def handmade(
    payload: bytes,
    *,
    magic: bytes = b"\xb5P",
    version: int = 1,
    codec: int = 0,
    raw_bytes: int = -1,
) -> bytes:
    """Build a frame whose checksum is right, by other code than the product's."""
    raw_bytes = len(payload) if raw_bytes < 0 else raw_bytes
    header = struct.pack(">2sBBII", magic, version, codec, 0, raw_bytes)
    return header + hashlib.blake2b(header + payload, digest_size=8).digest() + payload


@given(st.binary(max_size=2000), st.integers(0, 2**32 - 1), st.integers(-5, 19))
def test_frames_round_trip(raw: bytes, schema_version: int, level: int) -> None:
    for data in (raw, raw * 50):
        frame = encode_frame(data, schema_version=schema_version, level=level)
        assert decode_frame(frame, what="x") == Frame(data, schema_version)
        assert len(frame) <= len(data) + FRAME_OVERHEAD_BYTES


def test_only_what_shrinks_is_compressed() -> None:
    assert len(FRAMES["compressed"]) < len(REPETITIVE) / 2
    assert len(FRAMES["incompressible"]) == 200 + FRAME_OVERHEAD_BYTES
    assert encode_frame(b"a" * 128).endswith(b"a" * 128)
    assert len(encode_frame(b"a" * 129)) < 129
    assert len(encode_frame(REPETITIVE, compress_over_bytes=10**6)) > len(REPETITIVE)


def test_the_format_is_the_one_written_down() -> None:
    """Stores that exist hold these bytes: they may be added to, never changed."""
    assert encode_frame(b"abc", schema_version=2) == handmade(b"abc")[:4] + bytes.fromhex(
        "00000002" "00000003" + hashlib.blake2b(
            struct.pack(">2sBBII", b"\xb5P", 1, 0, 2, 3) + b"abc", digest_size=8
        ).hexdigest()
    ) + b"abc"  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_every_flipped_bit_is_seen(name: str) -> None:
    frame = FRAMES[name]
    undetected = []
    for bit in range(len(frame) * 8):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decode_frame(bytes(damaged), what="it")
        except CorruptRecord:
            continue
        undetected.append(bit)
    assert undetected == []


@pytest.mark.parametrize("name", FRAMES)
def test_every_truncation_and_extension_is_seen(name: str) -> None:
    frame = FRAMES[name]
    for size in range(len(frame)):
        with pytest.raises(CorruptRecord):
            decode_frame(frame[:size], what="it")
    for tail in (b"\0", b"x", frame, b"\0" * 100):
        with pytest.raises(CorruptRecord):
            decode_frame(frame + tail, what="it")


@settings(max_examples=500)
@given(st.binary(max_size=100))
def test_noise_is_never_a_frame(noise: bytes) -> None:
    with pytest.raises(CorruptRecord):
        decode_frame(noise, what="it")


def test_an_error_names_the_record_and_what_to_do() -> None:
    with pytest.raises(CorruptRecord, match=r"the state of p / e is damaged.*backup.*reset"):
        decode_frame(b"", what="the state of p / e")


@pytest.mark.parametrize(
    "frame",
    [
        handmade(b"abc", magic=b"XX"),
        handmade(b"abc", raw_bytes=4),
        handmade(b"abc", raw_bytes=2),
        handmade(b"not zstd", codec=1, raw_bytes=8),
        handmade(b"", codec=1, raw_bytes=0),
        handmade(zstd.compress(b"abc"), codec=1, raw_bytes=4),
        handmade(zstd.compress(b"abc"), codec=1, raw_bytes=2),
        handmade(zstd.compress(b"abc")[:-1], codec=1, raw_bytes=3),
        handmade(zstd.compress(b"abc") + b"x", codec=1, raw_bytes=3),
        handmade(zstd.compress(b"abc") * 2, codec=1, raw_bytes=3),
        handmade(b"abc", raw_bytes=MAX_RAW_BYTES + 1),
    ],
)
def test_a_frame_that_lies_under_a_right_checksum_is_damaged(frame: bytes) -> None:
    with pytest.raises(CorruptRecord, match="^it is damaged"):
        decode_frame(frame, what="it")


@pytest.mark.parametrize("frame", [handmade(b"abc", version=2), handmade(b"abc", codec=9)])
def test_an_intact_frame_of_a_newer_kind_is_not_called_damaged(frame: bytes) -> None:
    with pytest.raises(SchemaTooNew, match="upgrade belaypin"):
        decode_frame(frame, what="it")


@pytest.mark.parametrize("claimed", [100, 2**32 - 1])
def test_a_decompression_bomb_stays_small(claimed: int) -> None:
    bomb = handmade(zstd.compress(bytes(256 * 1024 * 1024)), codec=1, raw_bytes=claimed)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptRecord):
            decode_frame(bomb, what="it")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


def test_what_could_not_be_read_back_is_not_written() -> None:
    with pytest.raises(UsageError, match="larger than"):
        encode_frame(bytes(MAX_RAW_BYTES + 1))
    with pytest.raises(UsageError, match="schema_version"):
        encode_frame(b"", schema_version=2**32)
    with pytest.raises(CorruptRecord, match="more than the 10 allowed"):
        decode_frame(encode_frame(bytes(11)), what="it", max_raw_bytes=10)


def test_large_records_round_trip() -> None:
    raw = random.Random(1).randbytes(1000) * 20_000
    for level in (1, 3, 19):
        assert decode_frame(encode_frame(raw, level=level), what="it").raw == raw


def test_threads_do_not_disturb_each_other() -> None:
    texts = [bytes([n]) * 500 + REPETITIVE for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(encode_frame, texts))
    assert [decode_frame(frame, what="it").raw for frame in frames] == texts


# --- states ---------------------------------------------------------------------------------------


class Level(enum.Enum):
    LOW = "low"


@dataclass
class Progress:
    page: int
    at: datetime
    tags: set[str] = field(default_factory=set)
    by_day: dict[str, datetime] = field(default_factory=dict)
    note: str | None = None
    ratio: float = 0.0


class Cursor(msgspec.Struct):
    token: uuid.UUID
    level: Level = Level.LOW
    limit: float | None = None


class Model(pydantic.BaseModel):
    page: int
    at: datetime
    parts: list[Progress] = []


NOW = datetime(2024, 1, 1, tzinfo=UTC)
PROGRESS = Progress(3, NOW, {"b", "a"}, {"x": NOW})

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_json_states_come_back_the_same(state: dict[str, Any]) -> None:
    loaded = load_state(dump_state(state), dict)
    assert loaded == state
    assert repr(loaded) == repr(dict(sorted(state.items()))) or _shuffled(loaded) == _shuffled(
        state
    )


def _shuffled(value: Any) -> Any:
    """The value with types spelled out and keys sorted: 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return sorted((key, _shuffled(part)) for key, part in value.items())
    if isinstance(value, list):
        return [repr(_shuffled(part)) for part in value]
    return repr(value)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.randoms())
def test_equal_states_give_equal_bytes(state: dict[str, Any], rng: random.Random) -> None:
    keys = list(state)
    rng.shuffle(keys)
    assert dump_state({key: state[key] for key in keys}) == dump_state(state)


@pytest.mark.parametrize(
    ("state", "type_"),
    [
        (PROGRESS, Progress),
        (Progress(0, NOW), Progress),
        (Cursor(uuid.UUID(int=1)), Cursor),
        (Model(page=1, at=NOW, parts=[PROGRESS]), Model),
        ({"a": Cursor(uuid.UUID(int=1), limit=1.5)}, dict[str, Cursor]),
        ([1, "a", None], list),
        ("text", str),
        (7, int),
        (2**80, int),
    ],
)
def test_typed_states_come_back_as_their_type(state: Any, type_: Any) -> None:
    assert load_state(dump_state(state), type_) == state


def test_sets_of_typed_states_are_deterministic() -> None:
    tags = [str(n) for n in range(50)]
    one, other = Progress(1, NOW, set(tags)), Progress(1, NOW, {*tags[25:], *tags[:25]})
    assert dump_state(one) == dump_state(other)


def test_a_tuple_is_stored_as_an_array() -> None:
    assert load_state(dump_state({"at": (1, 2)}), dict) == {"at": [1, 2]}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [1, float("nan")]}, r"state\['a'\]\[1\] is nan"),
        ({"a": float("-inf")}, r"state\['a'\] is -inf"),
        (Progress(1, NOW, ratio=float("nan")), r"state\.ratio is nan"),
        ({"p": Progress(1, NOW, ratio=float("inf"))}, r"state\['p'\]\.ratio is inf"),
        (Cursor(uuid.UUID(int=1), limit=float("nan")), r"state\.limit is nan"),
        ({"a": {1: 2}}, r"state\['a'\] has the key 1, which is no text"),
        ({None: 2}, "has the key None"),
        ({"at": NOW}, r"state\['at'\] is datetime.*which JSON cannot hold"),
        ({"a": {"b"}}, r"state\['a'\] is \{'b'\}"),
        ({"a": b"x"}, r"state\['a'\] is b'x'"),
        ({"a": uuid.UUID(int=1)}, r"state\['a'\] is UUID"),
        ({"a": Level.LOW}, r"state\['a'\] is <Level"),
        ([object()], r"state\[0\] is <object"),
        ({"a": "\ud800"}, "half a surrogate pair"),
        ({"\ud800": 1}, "half a surrogate pair"),
        (object(), "state is <object"),
        (NOW, "state is datetime"),
        ({"m": Model(page=1, at=NOW)}, r"state\['m'\] is Model"),
        (Model(page=1, at=NOW, parts=[Progress(1, NOW, ratio=float("nan"))]), "is nan|JSON"),
    ],
)
def test_a_state_that_json_would_change_is_refused_with_its_place(state: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dump_state(state)


def test_a_state_that_contains_itself_is_refused() -> None:
    state: dict[str, Any] = {}
    state["self"] = state
    with pytest.raises(UsageError, match="contains itself"):
        dump_state(state)


@pytest.mark.parametrize(
    ("raw", "type_", "message"),
    [
        (
            b'{"page":"x","at":1}',
            Progress,
            r"an object with the fields \['page', 'at'\].*a Progress",
        ),
        (b'{"pages":1}', Model, r"the fields \['pages'\].*not a Model"),
        (b"[1,2]", dict, "an array of 2, which is not a dict"),
        (b'"x"', Cursor, "'x', which is not a Cursor"),
        (b"{", dict, "1 bytes that are not JSON"),
        (b"\xff", Model, "not JSON"),
        (b"{}", object(), "an object"),
    ],
)
def test_a_state_of_another_type_is_refused_saying_both(
    raw: bytes, type_: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s){message}"):
        load_state(raw, type_)


def test_a_state_nested_by_a_stranger_does_not_crash() -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    with pytest.raises(UsageError, match="not JSON"):
        load_state(deep, list)
