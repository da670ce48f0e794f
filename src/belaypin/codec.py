"""Stored bytes: the frame around every record, and states as typed JSON.

A frame is ``magic, version, codec, schema version, raw length, checksum, payload``. The checksum
covers all the rest, so a record that was damaged is named, and never decoded to a wrong value.
The place and algorithm of the checksum are the same in every frame version to come: only then
can old code tell a newer record from a damaged one.
"""

from __future__ import annotations

import hashlib
import struct
import sys
import threading
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import msgspec

from belaypin.dictionaries import MAX_STATE_BYTES, Dictionary, known
from belaypin.errors import CorruptRecord, SchemaTooNew, UsageError
from belaypin.fields import describe

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = [
    "FRAME_OVERHEAD_BYTES",
    "MAX_RAW_BYTES",
    "Frame",
    "check_row",
    "decode_frame",
    "dictionary_of",
    "dump_state",
    "encode_frame",
    "load_state",
    "with_dictionary",
]

T = TypeVar("T")

MAX_RAW_BYTES = 64 * 1024 * 1024
"""How much one record may hold before compression; also the cap on what is decompressed."""

_MAGIC = b"\xb5P"
_FRAME_VERSION = 1
_RAW, _ZSTD, _ZSTD_WITH_DICTIONARY = 0, 1, 2
_HEADER = struct.Struct(">2sBBII")
_CHECKSUM_BYTES = 8
FRAME_OVERHEAD_BYTES = _HEADER.size + _CHECKSUM_BYTES
_DICTIONARY_ID = struct.Struct(">Q")  # stands before the payload that needs it

# A window never needs to be larger than the largest record, whatever a frame claims.
_ZSTD_OPTIONS: Final[dict[int, int]] = {
    zstd.DecompressionParameter.window_log_max: MAX_RAW_BYTES.bit_length() - 1
}
# What the frame around it says already, a small record need not say twice.
_SMALL_OPTIONS: Final[dict[int, int]] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.dict_id_flag: 0,
    zstd.CompressionParameter.content_size_flag: 0,
}
_FLUSH_FRAME: Final = zstd.ZstdCompressor.FLUSH_FRAME

_JSON = msgspec.json.Encoder(order="deterministic")


class Frame(NamedTuple):
    """What was in a frame: the raw bytes, and the schema version they were written under."""

    raw: bytes
    schema_version: int


class _Compressors(threading.local):
    """Reused compressors (3x faster on small records), one of each level per thread.

    Per thread, so that a fork never inherits one that another thread was using.
    """

    def __init__(self) -> None:
        self.by_level: dict[int, zstd.ZstdCompressor] = {}
        self.with_dictionary: tuple[int, zstd.ZstdCompressor] | None = None


_compressors = _Compressors()


def encode_frame(
    raw: bytes,
    *,
    schema_version: int = 0,
    level: int = 3,
    compress_over_bytes: int = 128,
    dictionary: Dictionary | None = None,
) -> bytes:
    """Return the bytes framed, compressed where they are long enough and it makes them shorter.

    With a ``dictionary``, by that where it makes them shorter still. Raises `UsageError` for more
    than `MAX_RAW_BYTES`.

    >>> decode_frame(encode_frame(b"state", schema_version=2), what="the state of p")
    Frame(raw=b'state', schema_version=2)
    """
    if len(raw) > MAX_RAW_BYTES:
        raise UsageError(
            f"a record of {len(raw)} bytes is larger than {MAX_RAW_BYTES}: keep data in tables or "
            f"files, and only the place in it in the checkpoint."
        )
    if not 0 <= schema_version < 2**32:
        raise UsageError(f"schema_version must be 0 to 2^32 - 1, not {schema_version}.")
    codec, payload = _RAW, raw
    if len(raw) > compress_over_bytes:
        compressed = _compress(raw, level)
        if len(compressed) < len(raw):
            codec, payload = _ZSTD, compressed
    if dictionary is not None and len(raw) <= MAX_STATE_BYTES:
        compressed = _compress_with(dictionary, raw)
        if len(compressed) < len(payload):
            codec, payload = _ZSTD_WITH_DICTIONARY, compressed
    header = _HEADER.pack(_MAGIC, _FRAME_VERSION, codec, schema_version, len(raw))
    return b"".join((header, _checksum(header, payload), payload))


def decode_frame(frame: bytes, *, what: str, max_raw_bytes: int = MAX_RAW_BYTES) -> Frame:
    """Return what `encode_frame` was given; ``what`` names the record in errors.

    Raises `CorruptRecord` for anything that is not, byte for byte, what was written, and
    `SchemaTooNew` for an intact frame of a newer kind. Never allocates more than ``max_raw_bytes``
    for the result.
    """
    if len(frame) < FRAME_OVERHEAD_BYTES:
        _corrupt(what, f"{len(frame)} bytes are too short for a record")
    header = frame[: _HEADER.size]
    payload = memoryview(frame)[FRAME_OVERHEAD_BYTES:]
    if _checksum(header, payload) != frame[_HEADER.size : FRAME_OVERHEAD_BYTES]:
        _corrupt(what, "its checksum does not match")
    magic, version, codec, schema_version, raw_bytes = _HEADER.unpack(header)
    if magic != _MAGIC:
        _corrupt(what, "it is not a record of belaypin")
    if version > _FRAME_VERSION or codec > _ZSTD_WITH_DICTIONARY:
        raise SchemaTooNew(
            f"{what} was written by a newer belaypin (frame {version}, codec {codec}): "
            f"upgrade belaypin to read it."
        )
    if raw_bytes > max_raw_bytes:
        _corrupt(what, f"it claims {raw_bytes} bytes, more than the {max_raw_bytes} allowed")
    raw = bytes(payload) if codec == _RAW else _decompress(codec, payload, raw_bytes, what)
    if len(raw) != raw_bytes:
        _corrupt(what, f"it holds {len(raw)} bytes where {raw_bytes} were written")
    return Frame(raw, schema_version)


def dictionary_of(frame: object) -> int | None:
    """Return which dictionary has to be known to decode a frame; None for none.

    The frame is not checked: of a damaged one the answer means nothing, and harms nothing.
    """
    if not isinstance(frame, bytes) or len(frame) < FRAME_OVERHEAD_BYTES + _DICTIONARY_ID.size:
        return None
    if _HEADER.unpack_from(frame)[2] != _ZSTD_WITH_DICTIONARY:
        return None
    dictionary_id: int = _DICTIONARY_ID.unpack_from(frame, FRAME_OVERHEAD_BYTES)[0]
    return dictionary_id if dictionary_id < 2**63 else None


def with_dictionary(frame: bytes, dictionary: Dictionary) -> bytes:
    """Return the same record by a dictionary of its kind, where that makes it shorter."""
    *_, raw_bytes = _HEADER.unpack_from(frame)
    if raw_bytes > MAX_STATE_BYTES:
        return frame
    raw, schema_version = decode_frame(frame, what="the state")
    return encode_frame(raw, schema_version=schema_version, dictionary=dictionary)


def dump_state(value: object) -> bytes:
    """Return a state as JSON: equal states give equal bytes.

    Takes dicts, lists, scalars, dataclasses, msgspec Structs and pydantic models. Plain dicts and
    lists hold only what JSON holds; richer types (datetime, set, UUID, ...) belong in typed fields
    of a dataclass, Struct or model, which `load_state` can restore. Raises `UsageError` naming the
    place of what cannot be stored.

    >>> dump_state({"b": 1, "a": [True, None]})
    b'{"a":[true,null],"b":1}'
    """
    if hasattr(type(value), "model_dump"):
        value = value.model_dump(mode="json")  # type: ignore[attr-defined]
    try:
        return _dump(value)
    except RecursionError:
        raise UsageError("the state is nested too deeply, or contains itself.") from None


def check_row(value: object) -> None:
    """Raise `UsageError` for a NaN or an infinity anywhere in what is to be written as JSON."""
    _check_state(value, "the row", typed=True)


def load_state(raw: bytes, type_: type[T]) -> T:
    """Return a state that `dump_state` wrote, as the type asked for.

    Raises `UsageError` that says what was stored when it is not of that type.

    >>> load_state(b'{"page": 3}', dict)
    {'page': 3}
    """
    try:
        if hasattr(type_, "model_validate_json"):
            return type_.model_validate_json(raw)  # type: ignore[attr-defined, no-any-return]
        return msgspec.json.decode(raw, type=type_)
    except (ValueError, TypeError, RecursionError) as error:  # msgspec's and pydantic's too
        name = getattr(type_, "__name__", str(type_))
        raise UsageError(
            f"the stored state is {_stored(raw)}, which is not a {name}: {error}. "
            f"Ask for the type that was saved, or give new fields a default."
        ) from error


def _compress(raw: bytes, level: int) -> bytes:
    compressor = _compressors.by_level.get(level)
    if compressor is None:
        compressor = _compressors.by_level[level] = zstd.ZstdCompressor(level=level)
    return compressor.compress(raw, _FLUSH_FRAME)


def _compress_with(dictionary: Dictionary, raw: bytes) -> bytes:
    name, reused = dictionary.dictionary_id, _compressors.with_dictionary
    if reused is None or reused[0] != name:
        compressor = zstd.ZstdCompressor(options=_SMALL_OPTIONS, zstd_dict=dictionary.prepared)
        reused = _compressors.with_dictionary = (name, compressor)
    return _DICTIONARY_ID.pack(name) + reused[1].compress(raw, _FLUSH_FRAME)


def _dictionary(payload: memoryview, what: str) -> Dictionary:
    if len(payload) < _DICTIONARY_ID.size:
        _corrupt(what, "its payload names no dictionary")
    (name,) = _DICTIONARY_ID.unpack_from(payload)
    found = known(name)
    if found is None:
        _corrupt(what, f"its dictionary {name} is not in the store, or damaged itself")
    return found


def _decompress(codec: int, payload: memoryview, raw_bytes: int, what: str) -> bytes:
    prepared: zstd.ZstdDict | None = None
    if codec == _ZSTD_WITH_DICTIONARY:
        prepared = _dictionary(payload, what).prepared
        payload = payload[_DICTIONARY_ID.size :]
    decompressor = zstd.ZstdDecompressor(prepared, options=_ZSTD_OPTIONS)
    try:
        # One byte more than declared is asked for, so that a longer payload shows and stops.
        raw = decompressor.decompress(payload, raw_bytes + 1)
    except zstd.ZstdError as error:
        _corrupt(what, f"it cannot be decompressed ({error})")
    if not decompressor.eof or decompressor.unused_data:
        _corrupt(what, "its payload is not one whole compressed block")
    return raw


def _checksum(header: bytes, payload: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(header, digest_size=_CHECKSUM_BYTES, usedforsecurity=False)
    digest.update(payload)
    return digest.digest()


def _corrupt(what: str, why: str) -> NoReturn:
    raise CorruptRecord(
        f"{what} is damaged: {why}. It was not decoded and not overwritten. "
        f"Restore it from a backup, or reset it if its work can be done again."
    )


def _dump(value: object) -> bytes:
    try:
        raw = _JSON.encode(value)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        _check_state(value, "state", typed=False)
        raise UsageError(f"the state cannot be stored: {error}.") from error
    # The encoder changes some things without a word: NaN to null, a datetime to text. A typed
    # field gets its type back, all but NaN; a plain dict or list must read back as it was.
    if b"null" in raw if _is_typed(value) else msgspec.json.decode(raw) != value:
        _check_state(value, "state", typed=False)
    return raw


def _is_typed(value: object) -> bool:
    return hasattr(type(value), "__struct_fields__") or hasattr(type(value), "__dataclass_fields__")


def _check_state(value: Any, path: str, *, typed: bool) -> None:
    """Walk the state to name the first thing that cannot be stored; ``typed`` inside a type."""
    if isinstance(value, dict):
        for key, part in value.items():
            _check_key(key, path, typed=typed)
            _check_state(part, f"{path}[{key!r}]", typed=typed)
    elif isinstance(value, (list, tuple)) or (typed and isinstance(value, (set, frozenset))):
        for index, part in enumerate(value):
            _check_state(part, f"{path}[{index}]", typed=typed)
    elif _is_typed(value):
        for name in getattr(value, "__struct_fields__", None) or value.__dataclass_fields__:
            _check_state(getattr(value, name, None), f"{path}.{name}", typed=True)
    else:
        _check_scalar(value, path, typed=typed)


def _check_scalar(value: object, path: str, *, typed: bool) -> None:
    if isinstance(value, float):
        if value != value or value in (float("inf"), -float("inf")):
            raise UsageError(f"{path} is {value!r}, which JSON cannot hold: use None or text.")
    elif isinstance(value, str):
        _check_text(value, path)
    elif value is not None and not isinstance(value, int) and not typed:
        raise UsageError(
            f"{path} is {describe(value)} ({type(value).__name__}), which JSON cannot hold: store "
            f"its text, or declare it as a field of a dataclass, msgspec Struct or pydantic model."
        )


def _check_key(key: object, path: str, *, typed: bool) -> None:
    if isinstance(key, str):
        _check_text(key, path)
    elif not typed or isinstance(key, (int, float, bool, type(None))):
        raise UsageError(f"{path} has the key {describe(key)}, which is no text: use str(...).")


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path} has text with half a surrogate pair ({describe(text)}): "
            f"decode its source with errors='replace'."
        ) from None


def _stored(raw: bytes) -> str:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return f"{len(raw)} bytes that are not JSON"
    if isinstance(value, dict):
        return f"an object with the fields {describe(list(value))}"
    return f"an array of {len(value)}" if isinstance(value, list) else describe(value)
