"""History: what ``store.history``, ``diff``, ``savepoint``, ``rewind`` and ``fork`` return."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from belaypin.keys import Key
from belaypin.records.checkpoints import Interval

__all__ = [
    "Difference",
    "Forked",
    "Imported",
    "Rewound",
    "RewoundStream",
    "Savepoint",
    "Version",
]


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A state that a Key has or had. ``size`` is in bytes, as it is stored.

    ``reason`` says why it is kept: it is "current", was "replaced" by another, brought to a newer
    schema ("upcast"), kept for a "savepoint", or left behind by a "rewind", a "reset" or a
    "repair". ``token`` is that of the lease it was replaced under, if it was under one.
    ``is_readable`` is False if its bytes are damaged.
    """

    key: Key
    version: int
    schema_version: int
    saved_at: datetime
    content_hash: str | None
    size: int
    reason: str
    token: int | None
    is_readable: bool

    @property
    def is_current(self) -> bool:
        """Whether this is the Key's state now."""
        return self.reason == "current"


class Difference(msgspec.Struct, frozen=True):
    """A place where two states differ: ``path`` is a JSON pointer (RFC 6901), "" is all of it.

    >>> print(Difference("/pages/0", "changed", 3, 4))
    ~ /pages/0: 3 -> 4
    """

    path: str
    kind: Literal["added", "removed", "changed"]
    before: Any
    """None if it was added."""
    after: Any
    """None if it was removed."""

    def __str__(self) -> str:
        """Return it as one line."""
        if self.kind == "added":
            return f"+ {self.path}: {self.after!r}"
        if self.kind == "removed":
            return f"- {self.path}: {self.before!r}"
        return f"~ {self.path or '(all)'}: {self.before!r} -> {self.after!r}"


class Savepoint(msgspec.Struct, frozen=True, kw_only=True):
    """A moment that an entity, or each entity of a pipeline, can be taken back to.

    One of a pipeline is taken entity by entity: ``entities`` counts those that it has so far, and
    it is not to be used before ``is_whole``. Call ``store.savepoint`` again to go on.
    """

    key: Key
    name: str
    note: str
    entities: int
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_whole(self) -> bool:
        """Whether every entity is in it, so that ``store.rewind`` may go there."""
        return self.finished_at is not None


class RewoundStream(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one Key. ``taken_back`` was covered, and is a gap again.

    ``items_before`` and ``items_after`` are how many items the ledger counted, and counts.
    """

    key: Key
    generation: int
    version: int
    items_before: int = 0
    items_after: int = 0
    taken_back: tuple[Interval, ...] = ()


class Rewound(msgspec.Struct, frozen=True, kw_only=True):
    """What a rewind, reset or reopen did, or (``dry_run``) would do; print it to read it.

    Rows in your own tables are never touched: items that are forgotten will be fetched, and handed
    to your code, again. ``streams`` lists the first keys that changed, ``unlisted`` counts others.
    """

    action: str
    key: Key
    to: str | int | None
    dry_run: bool
    entities: int
    items_forgotten: int
    streams: tuple[RewoundStream, ...]
    unlisted: int = 0

    def __str__(self) -> str:
        """Return what happened, stream by stream, and what did not happen to your rows."""
        verb = "would take" if self.dry_run else "took"
        target = "the beginning" if self.to is None else f"{self.to!r}"
        done = f"{verb} {self.key} back to {target}"
        if self.action == "reopen":
            done = f"{verb} time out of the coverage of {self.key}"
        lines = [
            f"{self.action} {done}: {self.entities} entities, {self.items_forgotten} items forgotten",
            *map(_line, self.streams),
            *([f"and {self.unlisted} keys more"] if self.unlisted else []),
            "Rows in your own tables were not touched.",
        ]
        return "\n".join(lines)


class Forked(msgspec.Struct, frozen=True):
    """A copy of an entity or a pipeline: how many entities, keys and items it has."""

    source: Key
    key: Key
    entities: int
    keys: int
    items: int


def _line(stream: RewoundStream) -> str:
    gone = "".join(f", no longer covered: {interval}" for interval in stream.taken_back)
    items = f"{stream.items_before} -> {stream.items_after} items"
    return f"  {stream.key}: {items}, version {stream.version}{gone}"


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store.import_`` has written. ``left``: entities that were there, and stay as they were.

    >>> print(Imported(key=Key("shop"), entities=2, keys=5, items=70))
    shop: 2 entities, 5 keys and 70 items imported
    """

    key: Key
    entities: int = 0
    keys: int = 0
    items: int = 0
    left: int = 0

    def plus(self, entities: int, keys: int, items: int, left: int) -> Imported:
        """With so many more."""
        return Imported(
            key=self.key,
            entities=self.entities + entities,
            keys=self.keys + keys,
            items=self.items + items,
            left=self.left + left,
        )

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields

    def __str__(self) -> str:
        """Return the numbers in one line."""
        more = f"; {self.left} entities were there and stay" if self.left else ""
        counts = f"{self.entities} entities, {self.keys} keys and {self.items} items"
        return f"{self.key}: {counts} imported{more}"
