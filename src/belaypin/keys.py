"""Keys: the hierarchical name ``pipeline / entity / stream`` of everything that is stored."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import describe

__all__ = ["MAX_PART_BYTES", "Key"]

MAX_PART_BYTES = 512
"""How long one part of a key may be, in UTF-8 bytes. A key is indexed; longer is data."""


class Key(msgspec.Struct, frozen=True, order=True):
    """The name of a checkpoint; granularity is depth (pipeline, entity, stream).

    Parts are text of 1 to 512 UTF-8 bytes without NUL. Raises `UsageError` otherwise.

    >>> str(Key("social", "user:7", "posts"))
    'social / user:7 / posts'
    """

    pipeline: str
    entity: str = ""
    stream: str = ""

    def __post_init__(self) -> None:
        """Refuse what could not be stored, or could be taken for another key."""
        _check("pipeline", self.pipeline)
        _check("entity", self.entity)
        _check("stream", self.stream)
        if not self.pipeline:
            raise UsageError("the pipeline of a key is empty: give it a name.")
        if self.stream and not self.entity:
            raise UsageError(
                f"the entity of a key is empty but its stream is {describe(self.stream)}: "
                f"name the entity as well."
            )

    @classmethod
    def of(cls, value: Key | str | Sequence[str]) -> Key:
        """Return the key that a key, a pipeline's name or a sequence of 1 to 3 parts means.

        >>> Key.of(("social", "user:7"))
        Key(pipeline='social', entity='user:7', stream='')
        """
        if isinstance(value, Key):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, (tuple, list)) or not 1 <= len(value) <= 3:
            raise UsageError(
                f"{describe(value)} is not a key: pass belaypin.Key(pipeline, entity, stream), "
                f"or a tuple of 1 to 3 texts."
            )
        parts: list[str] = list(value)
        if "" in parts[1:]:
            raise UsageError(f"a part of the key {describe(value)} is empty: leave it out.")
        return cls(*parts)

    @property
    def depth(self) -> int:
        """1 for a pipeline, 2 for an entity, 3 for a stream."""
        return 1 + bool(self.entity) + bool(self.stream)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are not empty, outermost first."""
        return (self.pipeline, self.entity, self.stream)[: self.depth]

    @property
    def parent(self) -> Key | None:
        """The key one level up; None for a pipeline."""
        return None if self.depth == 1 else Key(*self.parts[:-1])

    def child(self, name: str) -> Key:
        """Return the key one level down.

        >>> Key("social").child("user:7")
        Key(pipeline='social', entity='user:7', stream='')
        """
        if self.depth == 3:
            raise UsageError(f"{self} is a stream and has no children: items live in its ledger.")
        return Key.of((*self.parts, name))

    def encode(self) -> bytes:
        """Return the parts as UTF-8, each behind its length (2 bytes, big-endian).

        No two keys share an encoding, and a key's encoding begins with its parent's.
        """
        encoded = [part.encode() for part in self.parts]
        return b"".join(len(part).to_bytes(2, "big") + part for part in encoded)

    def __str__(self) -> str:
        """Return the key for people; parts that would mislead a reader are quoted."""
        return " / ".join(p if p.isprintable() and "/" not in p else repr(p) for p in self.parts)


def _check(name: str, part: object) -> None:
    if not isinstance(part, str):
        raise UsageError(f"the {name} of a key must be text, not {describe(part)}: use str(...).")
    if len(part) <= MAX_PART_BYTES and part.isascii() and "\0" not in part:
        return
    if "\0" in part:
        raise UsageError(f"the {name} of a key has a NUL character ({describe(part)}): remove it.")
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        raise UsageError(
            f"the {name} of a key has half a surrogate pair ({describe(part)}), which is no text: "
            f"decode the source with errors='replace', or use an id that is plain text."
        ) from None
    if size > MAX_PART_BYTES:
        raise UsageError(
            f"the {name} of a key has {size} UTF-8 bytes, more than {MAX_PART_BYTES} "
            f"({describe(part)}): use a shorter name, for example a digest of it."
        )
