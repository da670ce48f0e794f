"""Targets: what a listing or a destructive command is about, as a key or as a filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

import belaypin
from belaypin.cli.text import parse_key, path
from belaypin.filters import FIELDS, Filter, Term, parse

__all__ = ["Target", "takes_target", "walk"]

T = TypeVar("T")

_PAGE = 500
_HAS_FIELD = re.compile(rf"(?:^|\s)-?(?:{'|'.join(FIELDS)})(?:[:~<>])").search
_PARTS = ("pipeline", "entity", "stream")


class Target:
    """A key, or a filter; neither: everything."""

    def __init__(self, key: belaypin.Key | None = None, where: Filter | None = None) -> None:
        self.key = key
        self.where = where or Filter()

    @classmethod
    def of(cls, words: tuple[str, ...]) -> Target:
        """Read what stands on the command line: one word without a field is a key."""
        if not words:
            return cls()
        if len(words) == 1 and not _HAS_FIELD(words[0]):
            return cls(parse_key(words[0]))
        return cls(where=parse(" ".join(words)))

    def __bool__(self) -> bool:
        """Whether it narrows anything."""
        return self.key is not None or bool(self.where)

    def __str__(self) -> str:
        """Return it as it is written."""
        return path(self.key) if self.key is not None else str(self.where)

    @property
    def filter(self) -> Filter:
        """It as a filter; of a key, for what is at it and beneath it."""
        if self.key is None:
            return self.where
        parts = zip(_PARTS, self.key.parts, strict=False)
        return Filter(tuple(Term(field, ":", part) for field, part in parts))

    @property
    def is_of_streams(self) -> bool:
        """Whether streams are meant; else entities."""
        return any(term.field == "stream" for term in self.filter.terms)

    def one_key(self, what: str) -> belaypin.Key:
        """The key that it is. Raises UsageError if it is none."""
        if self.key is None:
            raise belaypin.UsageError(f"{what} is about one key: write pipeline/entity/stream.")
        return self.key


def takes_target(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its ``target``, a `Target`."""
    return click.argument(
        "target",
        nargs=-1,
        metavar="[KEY | FILTER...]",
        callback=lambda _context, _param, words: Target.of(words),
    )(function)


def walk(page: Callable[..., belaypin.Listing[Any]], *given: Any, **named: Any) -> Iterator[Any]:
    """Every row of a listing, page after page."""
    after: str | None = None
    while True:
        listing = page(*given, **named, limit=_PAGE, after=after)
        yield from listing
        after = listing.next
        if after is None:
            return
