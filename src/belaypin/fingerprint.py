"""The canonical form of a value (RFC 8785) and the fingerprints made of it.

Two values have one fingerprint exactly when they are the same JSON: field order, ``1`` or ``1.0``
and the serialiser make no difference. What has no canonical form is refused, never guessed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import Getter, MissingField, describe, field_names, getter

__all__ = [
    "FINGERPRINT_BYTES",
    "canonical",
    "fingerprint",
    "item_fingerprint",
    "item_fingerprinter",
]

FINGERPRINT_BYTES = 16
"""How long an item's fingerprint is: 128 bits, so that two never meet by chance."""

_MAX_INT = 2**53 - 1  # beyond it, JSON readers with double precision no longer agree

_sha256 = hashlib.sha256
_encode = msgspec.json.Encoder(order="sorted").encode

Ignored = dict[str, Any]  # field -> what to leave out below it; an empty dict: the whole field


def canonical(value: object) -> bytes:
    r"""Return the RFC 8785 form of a value, as UTF-8.

    Takes None, bool, int, float, str, dict, list and tuple, and dataclasses and msgspec Structs by
    their fields. Raises `UsageError` with the place of anything else, and of NaN, infinities,
    integers beyond 2^53 - 1, keys that are not text, and halves of surrogate pairs.

    >>> canonical({"b": 1.0, "a": "€"})
    b'{"a":"\xe2\x82\xac","b":1}'
    """
    return _canonical_fast(value) or _canonical_slow(value)


def fingerprint(value: object, *, ignore: Iterable[str] = ()) -> str:
    """Return ``spec:sha256:hex`` of a value without the fields named in ``ignore``.

    ``ignore`` holds top-level names and dotted paths; a path that meets an array goes on in each
    of its elements. What is ignored is part of the spec ("jcs", or "jcs-" and a digest of it), so
    fingerprints that left out different things never compare as equal.

    >>> fingerprint({"a": 1, "at": 5}, ignore=["at"]) == fingerprint({"a": 1.0}, ignore=["at"])
    True
    """
    spec = "jcs"
    if ignore:
        spec, names, tree = _projection(_names(ignore))
        value = (
            _without_names(value, names) if type(value) is dict and names else _without(value, tree)
        )
    return f"{spec}:sha256:{_sha256(canonical(value)).hexdigest()}"


def item_fingerprint(item: Any, content: Sequence[str] | Getter) -> bytes:
    """Return 16 bytes that change when the item's content does.

    ``content`` names the fields that count (a field that is absent is not one that is null), or is
    a callable that returns what counts. For many items, build `item_fingerprinter` once.
    """
    return item_fingerprinter(content)(item)


def item_fingerprinter(content: Sequence[str] | Getter) -> Callable[[Any], bytes]:
    """Return a function from an item to its fingerprint.

    >>> changed = item_fingerprinter(["title"])
    >>> changed({"id": 1, "title": "a"}) == changed({"id": 2, "title": "a"})
    True
    """
    project = content if callable(content) else _projector(content)
    sha256 = _sha256

    def of(item: Any) -> bytes:
        return sha256(canonical(project(item))).digest()[:FINGERPRINT_BYTES]

    return of


# The fast way: msgspec's C encoder, kept only where its bytes are provably the canonical ones.


class _Unsure(Exception):
    """The C encoder may have written this value in another way than RFC 8785 asks."""


def _number(text: str) -> int | float:
    # Both print the shortest digits that read back; they differ in exponents and in "1.0".
    if "e" in text:
        raise _Unsure
    return int(text[:-2]) if text.endswith(".0") else float(text)


_decode = msgspec.json.Decoder(float_hook=_number).decode

# One translation turns the questions about the whole text into searches for a constant:
# digits -> 0; what can stand before a number -> ":"; lead bytes of characters beyond U+FFFF -> F4
# and of U+E000 to U+FFFF -> EE (with both, UTF-8 and UTF-16 may sort keys differently).
_CLASSES = bytes.maketrans(
    b"0123456789:,[-\xf0\xf1\xf2\xf3\xf4\xee\xef",
    b"0000000000::::\xf4\xf4\xf4\xf4\xf4\xee\xee",
)
_PLAIN = frozenset({str, int, bool, type(None)})
_TEXT = frozenset({str})
_LONG_INT = b":" + b"0" * 16  # shorter integers are below 2^53


def _canonical_fast(value: object) -> bytes | None:
    """Return the canonical bytes at C speed, None when they are not certain to be canonical."""
    try:
        encoded = _encode(value) if _is_plain(value) else _encode_checked(value)
    except (_Unsure, TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return None
    classes = encoded.translate(_CLASSES)
    # find, not `in`: that takes four times as long, as it tries for an integer first
    if classes.find(_LONG_INT) >= 0:
        return None
    if not encoded.isascii() and b"\xf4" in classes and b"\xee" in classes:
        return None
    return encoded


def _is_plain(value: object) -> bool:
    """Whether it holds only what the encoder writes in the canonical form by itself."""
    parts: Collection[object]
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        parts = value.values()
    elif type(value) is list:
        parts = value
    else:
        return False
    return _PLAIN.issuperset(map(type, parts)) or all(map(_is_plain_part, parts))


def _is_plain_part(part: object) -> bool:
    if type(part) in _PLAIN:
        return True
    if type(part) is float:  # printed without an exponent, and not as a whole number
        return 1e-3 <= abs(part) < 1e15 and not part.is_integer()
    return _is_plain(part)


def _encode_checked(value: object) -> bytes:
    if type(value) is not dict and type(value) is not list:
        raise _Unsure
    encoded = _encode(value)
    # Reading it back tells what the encoder changed: NaN to null, a datetime to text, ...
    decoded = _decode(encoded)
    if decoded != value:
        raise _Unsure
    if encoded.find(b".0") >= 0:
        encoded = _encode(decoded)  # where whole floats have become integers
    return encoded


# The slow way: RFC 8785 to the letter, for any value; the authority on what is refused.


class _Refused(Exception):
    """Carries why, and the path to where, collected on the way out."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.path: list[str] = []


def _canonical_slow(value: object) -> bytes:
    try:
        return _value(value)
    except _Refused as refused:
        where = "".join(reversed(refused.path)) or " itself"
        raise UsageError(f"no canonical form: the value{where} {refused.why}") from None
    except RecursionError:
        raise UsageError("no canonical form: nested too deeply, or contains itself.") from None


def _value(value: Any) -> bytes:
    if value is None:
        return b"null"
    if value is True or value is False:
        return b"true" if value else b"false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, (list, tuple)):
        return _array(value)
    if _has_fields(value):
        return _object(_as_dict(value))
    raise _Refused(
        f"is {describe(value)} ({type(value).__name__}), which JSON cannot hold: pass its text, "
        f"or a dict of its fields."
    )


def _object(value: dict[Any, Any]) -> bytes:
    for key in value:
        if not isinstance(key, str):
            raise _Refused(f"has the key {describe(key)}, which is no text: use str(...).")
    members = []
    for key in sorted(value, key=_utf16):
        try:
            members.append(_text(key) + b":" + _value(value[key]))
        except _Refused as refused:
            refused.path.append(f"[{describe(key)}]")
            raise
    return b"{" + b",".join(members) + b"}"


def _array(value: Sequence[Any]) -> bytes:
    elements = []
    for index, element in enumerate(value):
        try:
            elements.append(_value(element))
        except _Refused as refused:
            refused.path.append(f"[{index}]")
            raise
    return b"[" + b",".join(elements) + b"]"


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be", "surrogatepass")  # halves of pairs are refused by _text


def _text(value: str) -> bytes:
    try:
        return _encode(str.__str__(value))  # the encoder escapes exactly what RFC 8785 does
    except UnicodeEncodeError:
        raise _Refused(
            f"has half a surrogate pair ({describe(value)}): decode it with errors='replace'."
        ) from None


def _integer(value: int) -> bytes:
    if not -_MAX_INT <= value <= _MAX_INT:
        raise _Refused("is an integer beyond 2^53 - 1, which not all readers keep: send as text.")
    return int.__repr__(value).encode()


def _double(value: float) -> bytes:
    """Return a double as ECMAScript prints it (Number::toString, cited by RFC 8785, 3.2.2.3)."""
    if value != value or value in (float("inf"), -float("inf")):
        raise _Refused(f"is {value!r}, which is no JSON number: use None or text.")
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)  # value = 0.digits * 10^point, once zeros are stripped
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    if not digits:
        return b"0"
    if 0 < point <= 21:
        text = digits.ljust(point, "0")
        text = text if len(text) == point else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{text}e{point - 1:+d}"
    return ("-" + text if value < 0 else text).encode()


def _has_fields(value: object) -> bool:
    return isinstance(value, msgspec.Struct) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def _as_dict(value: Any) -> dict[str, Any]:
    """Return a Struct's fields (by their encoded names) or a dataclass's as a dict."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        return _tag(value) | {encoded: getattr(value, name) for encoded, name in names}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _tag(value: msgspec.Struct) -> dict[str, Any]:
    config = value.__struct_config__
    return {config.tag_field: config.tag} if config.tag_field is not None else {}


# Projections: which fields count.


class _Projection(NamedTuple):
    spec: str
    names: tuple[str, ...]
    """The fields to leave out, if all are of the top level and none is a path."""
    tree: Ignored


def _names(ignore: Iterable[str]) -> tuple[str, ...]:
    names = tuple(ignore)
    if isinstance(ignore, str) or set(map(type, names)) != {str}:
        raise UsageError(f"ignore is {ignore!r}: pass a list of field names, as ['fetched_at'].")
    return names


@lru_cache(maxsize=256)
def _projection(ignore: tuple[str, ...]) -> _Projection:
    names = sorted(set(ignore))
    tree: Ignored = {}
    for path in names:
        *outer, last = _split(path)
        branch = tree
        for name in outer:
            if branch.get(name) == {} and name in branch:
                break  # all of it is ignored already
            branch = branch.setdefault(name, {})
        else:
            branch[last] = {}
    spec = f"jcs-{_sha256(canonical(names)).hexdigest()[:8]}"
    return _Projection(spec, () if any(tree.values()) else tuple(tree), tree)


def _split(path: str) -> list[str]:
    names = path.split(".")
    if not all(names):
        raise UsageError(f"ignore has {path!r}: write 'name', or 'outer.inner' for a path.")
    return names


def _without_names(value: dict[Any, Any], names: tuple[str, ...]) -> dict[Any, Any]:
    kept = value.copy()
    for name in names:
        kept.pop(name, None)
    return kept


def _without(value: Any, ignored: Ignored) -> Any:
    if isinstance(value, (list, tuple)):
        return [_without(element, ignored) for element in value]
    if _has_fields(value):
        value = _as_dict(value)
    if not isinstance(value, dict):
        return value
    return {
        name: _without(part, ignored[name]) if name in ignored else part
        for name, part in value.items()
        if ignored.get(name) != {}
    }


def _projector(content: Sequence[str]) -> Getter:
    """Return a function from an item to the dict of the named fields that it has."""
    if isinstance(content, str) or not content:
        raise UsageError(
            f"content is {content!r}: pass a list of field names, or a callable that returns what "
            f"counts as the item's content."
        )
    names = tuple(content)
    getters = [(name, getter(name)) for name in names]
    plain = not any("." in name for name in names)

    def project(item: Any) -> dict[str, Any]:
        if plain and type(item) is dict:
            found = {name: item[name] for name in names if name in item}
        else:
            found = _found(getters, item)
        if not found:
            raise UsageError(
                f"item {describe(item)} has none of the content fields {describe(list(names))} "
                f"(it has {describe(field_names(item))}): name fields that it has."
            )
        return found

    return project


def _found(getters: Sequence[tuple[str, Getter]], item: Any) -> dict[str, Any]:
    found = {}
    for name, get in getters:
        try:
            found[name] = get(item)
        except MissingField:
            continue
    return found
