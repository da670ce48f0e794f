"""What a terminal is given to print: never a control character that somebody else chose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import belaypin

__all__ = ["cell", "length", "parse_key", "path", "shown", "shown_lines"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))


def shown(text: str) -> str:
    r"""The text on one line, with an escape for what a terminal would act on.

    >>> shown("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return "\n".join(map(shown, text.split("\n")))


def path(key: belaypin.Key) -> str:
    """A key as it is written on the command line.

    >>> path(belaypin.Key("social", "user:7", "a/b"))
    'social/user:7/a%2Fb'
    """
    return "/".join(map(_escaped, key.parts))


def _escaped(part: str) -> str:
    kept = "".join(quote(c, safe="") if c in "%/" or not c.isprintable() else c for c in part)
    inner = kept.strip(" ")
    before = len(kept) - len(kept.lstrip(" "))
    after = len(kept) - len(kept.rstrip(" ")) if inner else 0
    return "%20" * before + inner + "%20" * after


def parse_key(text: str) -> belaypin.Key:
    """Read a key as `path` writes it, also with spaces around its slashes, as errors show it.

    >>> parse_key("social / user:7 / a%2Fb")
    Key(pipeline='social', entity='user:7', stream='a/b')
    """
    written = [part.strip(" ") for part in text.split("/")]
    if len(written) > 3 or "" in written:
        raise belaypin.UsageError(
            f"{text!r} is no key: write pipeline, pipeline/entity or pipeline/entity/stream. A slash "
            f"in a name is written %2F."
        )
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise belaypin.UsageError(f"{text!r} has a % that is no escape: write %25 for it.")
    try:
        return belaypin.Key.of([unquote(part, errors="strict") for part in written])
    except UnicodeDecodeError:
        raise belaypin.UsageError(f"{text!r}: what its % escapes mean is not UTF-8.") from None


def length(span: timedelta) -> str:
    """A length of time in its two largest units.

    >>> length(timedelta(hours=27, minutes=5)), length(timedelta(milliseconds=1500))
    ('1d 3h', '1.5s')
    """
    seconds = span.total_seconds()
    if seconds < 0:
        return "-" + length(-span)
    if seconds < 10:
        return f"{seconds:.3g}s"
    whole, parts = int(seconds), []
    for size, unit in _UNITS:
        count, whole = divmod(whole, size)
        parts.append(f"{count}{unit}")
    first = next(n for n, part in enumerate(parts) if part[0] != "0")
    return " ".join(part for part in parts[first : first + 2] if part[0] != "0")


def cell(value: Any) -> str:
    """A value as it stands in a table: one line, safe to print."""
    if value is None or value == "":
        return "-"
    if isinstance(value, belaypin.Key):
        return path(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, timedelta):
        return length(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{shown(str(name))} {cell(part)}" for name, part in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "-"
    return shown(str(value))
