"""Revisions: which of two fetches of an item is the newer one, whichever arrives first.

The ledger keeps a mark beside each id that came with a revision: 8 bytes of revision that sort as
revisions do, and 16 bytes of fingerprint (zeros where no content is compared).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from belaypin.errors import UsageError
from belaypin.fields import Getter, describe, values
from belaypin.fingerprint import item_fingerprinter
from belaypin.segments import FINGERPRINT_BYTES, MARK_BYTES
from belaypin.times import to_us

__all__ = [
    "Revision",
    "RevisionOf",
    "Verdict",
    "compare",
    "marks",
    "parts",
    "revision_number",
]

Revision = int | datetime | str
"""A number, an aware datetime, or ISO 8601 text with an offset; later is larger."""

RevisionOf = str | Callable[[Any], Revision]
"""Where an item's revision is: a field name, a dotted path, or a callable."""

Verdict = Literal["newer", "same", "touched", "older"]

_BIAS = 1 << 63
_NO_CONTENT = bytes(FINGERPRINT_BYTES)
_REVISION_BYTES = MARK_BYTES - FINGERPRINT_BYTES
_ADVICE = "Pass a number, an aware datetime, or ISO 8601 text with an offset"


def revision_number(value: object, what: str = "revision") -> int:
    """A revision as a number that grows; times are in microseconds since 1970.

    >>> revision_number("1970-01-01T00:00:01Z")
    1000000
    """
    if type(value) is int:
        if -_BIAS < value < _BIAS:
            return value
        raise UsageError(f"{what} {describe(value)} needs more than 64 bits. {_ADVICE}.")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise UsageError(f"{what} {describe(value)} is not ISO 8601. {_ADVICE}.") from None
    if isinstance(value, datetime):
        return to_us(value, what)
    raise UsageError(f"{what} {describe(value)} has no order that is known. {_ADVICE}.")


def marks(
    items: Sequence[Any], revision: RevisionOf, content: Sequence[str] | Getter | None
) -> list[bytes]:
    """The mark of each item. Raises UsageError that names the item which has no revision."""
    numbers = map(_number_of, values(items, revision, "revision"), items)
    heads = [(number + _BIAS).to_bytes(_REVISION_BYTES, "big") for number in numbers]
    if content is None:
        return [head + _NO_CONTENT for head in heads]
    prints = map(item_fingerprinter(content), items)
    return [head + fingerprint for head, fingerprint in zip(heads, prints, strict=True)]


def compare(stored: bytes | None, mark: bytes) -> Verdict:
    """What an item with this mark is to what was committed.

    "newer": process it. "same" and "older": skip it. "touched": skip it, but note its mark, as its
    revision has grown while its content has not changed.
    """
    revision, content = mark[:_REVISION_BYTES], mark[_REVISION_BYTES:]
    before, stored_content = _split(stored)
    if before is not None and revision < before:
        return "older"
    is_same_content = content == stored_content != _NO_CONTENT
    if revision != before:
        return "touched" if is_same_content else "newer"
    if is_same_content or content == _NO_CONTENT:
        return "same"
    return "touched" if stored_content == _NO_CONTENT else "newer"


def parts(fingerprint: bytes) -> tuple[int | None, bytes | None]:
    """The revision and the fingerprint of the content in what the ledger keeps beside an id."""
    revision, content = _split(fingerprint)
    number = None if revision is None else int.from_bytes(revision, "big") - _BIAS
    return number, None if content == _NO_CONTENT else content


def _split(stored: bytes | None) -> tuple[bytes | None, bytes]:
    if stored is None:
        return None, _NO_CONTENT
    if len(stored) != MARK_BYTES:
        return None, stored  # committed without a revision
    return stored[:_REVISION_BYTES], stored[_REVISION_BYTES:]


def _number_of(value: object, item: object) -> int:
    try:
        return revision_number(value)
    except UsageError as error:
        raise UsageError(f"{error} The item is {describe(item)}.") from None
