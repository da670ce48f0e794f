"""Scopes: ranges of keys, to go through page by page."""

from __future__ import annotations

from typing import NamedTuple

from belaypin.keys import MAX_PART_BYTES, Key
from belaypin.program import SqlValue

__all__ = ["Name", "Scope"]

_HIGHEST = "\U0010ffff" * (MAX_PART_BYTES // 4)  # no part of a key lies beyond it
_NEXT = "\x01"  # as parts hold no NUL, nothing lies between a part and itself with this behind it

Name = tuple[str, str, str]
"""A key as its three columns; what is stored need not be a valid Key."""


class Scope(NamedTuple):
    """A range of keys, both ends included."""

    first: Name
    last: Name

    @classmethod
    def of(cls, pipeline: str | None, entity: str | None) -> Scope:
        """All keys, those of a pipeline, or those of an entity."""
        if pipeline is None:
            return cls(("", "", ""), (_HIGHEST,) * 3)
        if entity is None:
            return cls((pipeline, "", ""), (pipeline, _HIGHEST, _HIGHEST))
        return cls((pipeline, entity, ""), (pipeline, entity, _HIGHEST))

    @classmethod
    def at(cls, key: Key | None) -> Scope:
        """A key and what lies beneath it; None: all keys."""
        if key is None:
            return cls.of(None, None)
        if key.stream:
            one = (key.pipeline, key.entity, key.stream)
            return cls(one, one)
        return cls.of(key.pipeline, key.entity or None)

    def beyond(self, name: Name) -> Scope:
        """The part that lies behind ``name``."""
        return Scope((name[0], name[1], name[2] + _NEXT), self.last)

    def up_to(self, entity: str) -> Scope:
        """The part up to the end of an entity of the first pipeline."""
        return Scope(self.first, (self.first[0], entity, _HIGHEST))

    def within(self, pipeline: str) -> Scope:
        """The part that lies in a pipeline."""
        whole = Scope.of(pipeline, None)
        return Scope(max(self.first, whole.first), min(self.last, whole.last))

    def behind(self, part: Scope) -> Scope:
        """What lies behind the pipeline of ``part``: perhaps nothing."""
        return Scope((part.first[0] + _NEXT, "", ""), self.last)

    def params(self) -> dict[str, SqlValue]:
        columns = ("pipeline", "entity", "stream")
        first = dict(zip(columns, self.first, strict=True))
        last = {f"last_{c}": part for c, part in zip(columns, self.last, strict=True)}
        return {**first, **last}
