"""Explanations: why an item or a document was processed or skipped; what ``store.explain`` returns."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from belaypin.ids import ItemId
from belaypin.keys import Key

__all__ = ["Explanation", "Placed"]


class Placed(msgspec.Struct, frozen=True):
    """Where an item lies in the ledger: its segment.

    ``token`` and ``committed_at`` are those of the commit that wrote the segment. If ``level`` is
    not 0 that commit merged older ones, and the item was committed then or before.
    ``fingerprint`` is that of its content, in hexadecimal, where content is compared; ``revision``
    is the number it came with (times in microseconds since 1970), where revisions are.
    """

    seq: int
    level: int
    generation: int
    items: int
    token: int
    committed_at: datetime
    fingerprint: str | None
    revision: int | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of an item of a stream, or of the document at a key.

    ``verdict`` says what would become of it now: "skip", as it is committed; or "process", as it
    is "new" or "changed" (``reason``, "unchanged" if skipped). An item that failed is "waiting" or
    "quarantined" under its ``failure_id``. ``placed`` is where the item lies;
    the hash, the version and the times are those of the document. ``processor`` is the version of
    your code that the stream or the document is processed by. Items with an event time before the
    stream's ``horizon``, if it has one, are too late and not processed.
    """

    key: Key
    item_id: ItemId | None
    verdict: Literal["skip", "process"]
    reason: Literal["new", "changed", "unchanged", "rewound", "waiting", "quarantined"]
    generation: int | None = None
    placed: Placed | None = None
    failure_id: int | None = None
    content_hash: str | None = None
    given_hash: str | None = None
    version: int = 0
    processor: int = 0
    revision: int | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    horizon: datetime | None = None

    @property
    def is_committed(self) -> bool:
        """Whether its effect is committed, in this generation of the key."""
        is_placed = self.placed is not None and self.placed.generation == self.generation
        return is_placed or (self.item_id is None and self.content_hash is not None)

    def as_dict(self) -> dict[str, Any]:
        """The explanation as JSON-able values, with its sentence as ``text``."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {**fields, "is_committed": self.is_committed, "text": str(self)}

    def __str__(self) -> str:
        """Return the explanation as a few sentences."""
        text = self._document() if self.item_id is None else self._item()
        return f"{text} The processor is version {self.processor}." if self.processor else text

    def _item(self) -> str:
        what = f"{self.item_id!r} of {self.key}"
        if self.failure_id is not None:
            return f"{what} failed and was put aside (failure {self.failure_id}). {self._aside()}"
        if self.placed is None and self.horizon is not None:
            at = self.horizon.isoformat()
            return (
                f"{what} is not in the ledger, which forgets what is older than {at}. If it comes, it "
                f"is too late if its event time is before that; else it is new and will be processed."
            )
        if self.placed is None:
            return f"{what} was never committed. If it comes, it is new and will be processed."
        at, placed = self.placed.committed_at.isoformat(), self.placed
        when = f"on {at}" if placed.level == 0 else f"on {at} or before"
        where = f"segment {placed.seq} (level {placed.level}, token {placed.token})"
        if self.reason == "rewound":
            return (
                f"{what} was committed {when}, in generation {placed.generation}; the stream was "
                f"rewound, or its processor renewed, and is at generation {self.generation}. If it comes, it "
                f"will be processed again."
            )
        text = f"{what} was committed {when}: {where}."
        if placed.revision is not None:
            return f"{text} It had revision {placed.revision}. Up to that one, it is skipped."
        if placed.fingerprint is None:
            return f"{text} If it comes again, it is skipped."
        return (
            f"{text} Its content had the fingerprint {placed.fingerprint}. If it comes again, it is "
            f"skipped unless its content differs."
        )

    def _aside(self) -> str:
        if self.reason == "quarantined":
            return "It is quarantined: left out until it is replayed or skipped."
        due = "now" if self.verdict == "process" else "when its time has come"
        return f"It waits, and is tried again {due}."

    def _document(self) -> str:
        if self.content_hash is None or self.first_seen_at is None or self.last_seen_at is None:
            return f"No content was ever committed at {self.key}. What comes is new, and processed."
        text = (
            f"{self.key} has content {self.content_hash}, version {self.version}; its first "
            f"content was seen on {self.first_seen_at.isoformat()}, the present one last on "
            f"{self.last_seen_at.isoformat()}."
        )
        if self.given_hash is None:
            return f"{text} The same content is skipped, other content processed."
        if self.reason == "unchanged":
            return f"{text} The given content is the same: it is skipped."
        return f"{text} The given content has {self.given_hash}: it has changed, and is processed."
