"""Item ids: what makes an item of a stream itself, so that it is committed once.

An id is text or a 64-bit integer; ``"1"`` and ``1`` are two ids. UUIDs become their text, and
composite ids (tuples) become compact JSON text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import Getter, as_sequence, describe, values

__all__ = ["MAX_ID_BYTES", "ItemId", "check_new_ids", "extract_ids", "key_function"]

ItemId = str | int
"""An item's id as the ledger keeps it."""

MAX_ID_BYTES = 1024
"""How long an id may be, in UTF-8 bytes."""

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
# A character takes at most four bytes, so shorter text needs no encoding to be measured.
_SURELY_SHORT_CHARS = MAX_ID_BYTES // 4


def extract_ids(items: Sequence[Any], key: str | Getter) -> list[ItemId]:
    """Return each item's id, in order, read by field name, dotted path or callable.

    Raises `UsageError` naming the item where there is none, or where it is not text, a 64-bit
    integer, a UUID or a tuple of those. What is inside a text is left to `check_new_ids`.

    >>> extract_ids([{"id": 7}, {"id": 8}], "id")
    [7, 8]
    """
    items = as_sequence(items)
    ids = values(items, key, "key")
    types = set(map(type, ids))
    if types <= {str}:
        return ids
    if types == {int} and min(ids) >= _MIN_INT and max(ids) <= _MAX_INT:
        return ids
    return [_canonical(value, index, items[index]) for index, value in enumerate(ids)]


def check_new_ids(ids: Collection[ItemId]) -> None:
    """Refuse ids whose text cannot be stored: empty, too long, with NUL or half a surrogate pair.

    Split from `extract_ids` because only ids that were never committed need it. Raises
    `UsageError` naming the first such id.

    >>> check_new_ids(["a", 1])
    """
    types = set(map(type, ids))
    if types <= {int}:
        return
    texts: Collection[str] = ids  # type: ignore[assignment]
    if types != {str}:
        texts = [value for value in ids if isinstance(value, str)]
    together = "".join(texts)
    if (
        "\0" in together
        or "" in texts
        or max(map(len, texts), default=0) > _SURELY_SHORT_CHARS
        or not (together.isascii() or _is_unicode(together))
    ):
        for text in texts:
            _check_text(text)


def key_function(key: str | Getter) -> Callable[[Any], ItemId]:
    """Return a function that reads one item's id, with all the checks.

    >>> key_function("id")({"id": 7})
    7
    """

    def read(item: Any) -> ItemId:
        ids = extract_ids((item,), key)
        check_new_ids(ids)
        return ids[0]

    return read


def _canonical(value: object, index: int, item: object) -> ItemId:
    if isinstance(value, (tuple, list)) and value:
        parts = [_scalar(part, index, item) for part in value]
        try:
            return msgspec.json.encode(parts).decode()
        except UnicodeEncodeError:
            raise UsageError(_surrogate(value)) from None
    return _scalar(value, index, item)


def _scalar(value: object, index: int, item: object) -> ItemId:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if _MIN_INT <= value <= _MAX_INT:
            return int(value)
        raise UsageError(
            f"key of item {index}: the integer {describe(value)} needs more than 64 bits. "
            f"Use its text: key=lambda item: str(...). The item is {describe(item)}."
        )
    raise UsageError(
        f"key of item {index}: {describe(value)} ({type(value).__name__}) is no id. An id is text, "
        f"an integer, a UUID or a tuple of those. The item is {describe(item)}. "
        f"Pass key= as another field, or a callable that returns one of those."
    )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_text(text: str) -> None:
    if not text:
        raise UsageError("an item has the empty text as its id: pass key= as a field that is set.")
    if "\0" in text:
        raise UsageError(f"the item id {describe(text)} has a NUL character: remove it.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError(_surrogate(text)) from None
    if size > MAX_ID_BYTES:
        raise UsageError(
            f"the item id {describe(text)} has {size} UTF-8 bytes, more than {MAX_ID_BYTES}: "
            f"use a shorter field, or a digest of it."
        )


def _surrogate(value: object) -> str:
    return (
        f"the item id {describe(value)} has half a surrogate pair, which is no text: "
        f"decode the source with errors='replace', or use another field."
    )
