"""The source that is mined: pages of posts as the JSON bytes that an HTTP client would hand over."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Literal, get_args

__all__ = ["ID_KINDS", "PAGE_ITEMS", "IdKind", "Item", "Source"]

PAGE_ITEMS = 500
"""A usual page; the tax is also measured at smaller ones."""

IdKind = Literal["text", "int", "random"]
"""Zero-padded text that counts up, integers that count up, 128 random bits in hexadecimal."""

ID_KINDS: tuple[IdKind, ...] = get_args(IdKind)

Item = dict[str, Any]

_TEXT = (
    "quantum state gate circuit error measure basis vector phase noise qubit entangled classical "
    "oracle simulate depth ancilla rotation unitary the a of and with from which into over under"
)
_WORDS = _TEXT.split()
_POST = (
    '{"id": %s, "author": {"id": %d, "name": "user%d"}, "created_at": "%s", "title": "%s", '
    '"body": "%s", "score": %d, "tags": ["%s", "%s"]}'
)
_TEXTS = 997  # different ones; a prime, so that pages differ


class Source:
    """Posts 0 to ``items`` - 1, of 350 bytes each, in pages. Every page is the same each time."""

    def __init__(self, ids: IdKind, items: int, page_items: int, *, keep: bool = True) -> None:
        """``keep``: hold all pages, made beforehand; else only the one that was last asked for."""
        self.items = items
        self.page_items = page_items
        self._ids = ids
        self._keep = keep
        self._tails = _tails()
        self._bodies: dict[int, bytes] = {}
        if keep:
            for page in range(self.pages):
                self.body(page)

    @property
    def pages(self) -> int:
        return -(-self.items // self.page_items)

    def fetch(self, cursor: int | None) -> tuple[list[Item], int | None]:
        """Decode a page, as a client does with a response; the cursor is the page's number."""
        document = json.loads(self.body(cursor or 0))
        return document["items"], document["next"]

    def body(self, page: int) -> bytes:
        """The page as it comes over the wire."""
        body = self._bodies.get(page)
        if body is None:
            if not self._keep:
                self._bodies.clear()
            body = self._bodies[page] = self._made(page)
        return body

    def _made(self, page: int) -> bytes:
        start = page * self.page_items
        numbers = range(start, min(start + self.page_items, self.items))
        ids = self._page_ids(page, numbers)
        posts = [_POST % (i, *self._tails[n % _TEXTS]) for i, n in zip(ids, numbers, strict=True)]
        following = str(page + 1) if page + 1 < self.pages else "null"
        return f'{{"items": [{", ".join(posts)}], "next": {following}}}'.encode()

    def _page_ids(self, page: int, numbers: range) -> list[str]:
        if self._ids == "int":
            return list(map(str, numbers))
        if self._ids == "text":
            return [f'"{n:012d}"' for n in numbers]
        chance = Random(page)
        return [f'"{chance.getrandbits(128):032x}"' for _ in numbers]


def _tails() -> list[tuple[object, ...]]:
    """All of a post but its id."""
    chance = Random(0)
    return [_tail(chance) for _ in range(_TEXTS)]


def _tail(chance: Random) -> tuple[object, ...]:
    author = chance.randrange(10_000)
    day, second = chance.randrange(1, 29), chance.randrange(60)
    return (
        author,
        author,
        f"2025-11-{day:02d}T10:20:{second:02d}Z",
        " ".join(chance.choices(_WORDS, k=6)),
        " ".join(chance.choices(_WORDS, k=22)),
        chance.randrange(100),
        *chance.sample(_WORDS, 2),
    )
