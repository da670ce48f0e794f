"""Failure: what is kept of an item that was put aside, and how the item itself is stored."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal

import msgspec

from belaypin.codec import decode_frame, encode_frame
from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.ids import ItemId
from belaypin.keys import Key

__all__ = [
    "Failure",
    "FailureGroup",
    "FailureGroups",
    "Status",
    "dump_item",
    "id_of",
    "id_text",
    "load_item",
    "print_of",
]

Status = Literal["waiting", "quarantined"]

_UNKNOWN = "?"
_SCALARS = (str, int, float, type(None))


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An item that was put aside: an explicit hole in its stream until it is replayed or skipped.

    ``status``: "waiting" items come back with the first ``lease.windows`` after ``next_try_at``,
    "quarantined" ones when a person calls ``store.replay``. ``item_id`` is None if the item
    killed its workers before anybody had read its id. ``event_at`` is its event time, where ``at=``
    tells it. ``error`` begins with the name of the exception's class. ``payload`` is the item;
    lists leave it out, ``store.failure`` reads it.
    """

    failure_id: int
    key: Key
    item_id: ItemId | None
    status: Status
    attempts: int
    next_try_at: datetime
    event_at: datetime | None
    error: str
    traceback: str
    first_failed_at: datetime
    last_failed_at: datetime
    token: int
    payload: Any = None


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Failures whose errors are of one class.

    ``error`` is how their texts begin, as ``store.failures(error=...)`` takes it; ``example`` the
    newest of them, cut after 300 characters. Of the ``total``, ``quarantined`` wait for a person.
    """

    error: str
    example: str
    total: int
    quarantined: int
    first_failed_at: datetime
    last_failed_at: datetime

    @property
    def waiting(self) -> int:
        """Those that are tried again by themselves."""
        return self.total - self.quarantined


class FailureGroups(msgspec.Struct, frozen=True, kw_only=True):
    """The failures of a stretch in groups, the largest first.

    ``looked_at``: so many of the store's failures were looked at, the newest ones below ``before``;
    those that fit are in the groups. ``next``: pass it as ``before`` to go on with older ones; None:
    there are none. ``trend``: how many failed for the first time in each of 24 stretches up to now.

    >>> FailureGroups().total, FailureGroups().next
    (0, None)
    """

    groups: tuple[FailureGroup, ...] = ()
    trend: tuple[tuple[datetime, int], ...] = ()
    looked_at: int = 0
    next: int | None = None

    @property
    def total(self) -> int:
        """The failures in all groups."""
        return sum(group.total for group in self.groups)


def id_text(item_id: ItemId) -> str:
    """An id as one text that tells numbers from text.

    >>> id_text(7), id_text("7")
    ('i7', 's7')
    """
    return f"i{item_id}" if isinstance(item_id, int) else f"s{item_id}"


def id_of(text: str) -> ItemId | None:
    """The id that ``id_text`` was given; None for an item whose id nobody has read."""
    if text.startswith(_UNKNOWN):
        return None
    return int(text[1:]) if text.startswith("i") else text[1:]


def dump_item(item: object) -> bytes:
    """An item as JSON in a frame, from which ``load_item`` makes an equal one.

    It takes whatever a source can send as JSON: also NaN, large numbers and half surrogate pairs,
    that a state may not have; such an item may well fail. Raises UsageError for anything else.
    """
    return encode_frame(_json(item, sort=False))


def load_item(framed: bytes, what: str) -> Any:
    """The item of a stored payload. Raises CorruptRecord if it is damaged."""
    import json

    return json.loads(decode_frame(framed, what=what).raw)


def print_of(item: object) -> str:
    """What an item is known by whose id nobody has read: a digest of its JSON."""
    return _UNKNOWN + sha256(_json(item, sort=True)).hexdigest()[:32]


def _json(item: object, *, sort: bool) -> bytes:
    import json

    try:
        if _is_plain(item):
            return json.dumps(item, separators=(",", ":"), sort_keys=sort).encode()
    except (ValueError, RecursionError):
        pass
    raise UsageError(
        f"{describe(item)} is no plain JSON data, so it can't be kept to be tried again. Pass what "
        f"your loop shall get instead: tx.attempt(item, payload=...). Nothing was written."
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _SCALARS)
