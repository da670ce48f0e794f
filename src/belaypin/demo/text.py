"""Bytes that git reports, as text that every database and every terminal takes, without loss."""

from __future__ import annotations

import hashlib
import re

__all__ = ["shortened", "text_of"]

_SPECIAL = re.compile(rb"[\x00-\x1f\x7f\\]")


def _escaped(match: re.Match[bytes]) -> bytes:
    byte = match[0]
    return b"\\\\" if byte == b"\\" else b"\\x%02x" % byte[0]


def text_of(raw: bytes) -> str:
    r"""Decode a name or a path; what is not UTF-8 text becomes ``\xNN``, a backslash is doubled.

    Git knows only bytes. Two different names never become the same text.

    >>> text_of("Zoë".encode()), text_of(b"Zo\xeb")
    ('Zoë', 'Zo\\xeb')
    """
    return _SPECIAL.sub(_escaped, raw).decode("utf-8", "backslashreplace")


def shortened(text: str, max_bytes: int) -> str:
    r"""Return ``text``, or its hash and as much of its beginning as fits into ``max_bytes``.

    ``text_of`` never returns text that begins with ``\~``, so a short form equals no other text.

    >>> shortened("README.md", 100)
    'README.md'
    >>> shortened("a" * 200, 100)[:12]
    '\\~c2a908d98f'
    """
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    mark = f"\\~{hashlib.sha256(encoded).hexdigest()} "
    return mark + encoded[: max_bytes - len(mark)].decode("utf-8", "ignore")
