"""Figures, times and names as people read them; nothing here knows HTML.

Whatever comes from the store is somebody's data. What can't be seen in it, or turns the text around
it, is shown as an escape, so that two different ids never look alike by a trick.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from belaypin.filters import Filter, Term, parse
from belaypin.keys import Key

__all__ = [
    "NOTHING",
    "age",
    "asked",
    "command_word",
    "key_path",
    "number",
    "parts_of",
    "percent",
    "redacted",
    "size",
    "span",
    "timestamp",
    "visible",
]

# Controls (C0, DEL, C1), what turns the direction of text, joiners and marks of no width, line and
# paragraph separators, tags, half surrogate pairs. Newlines and tabs stay where text has lines.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
_MARKS = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{4})[\u0300-\u036f"
    "\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)

NOTHING = "\N{EN DASH}"
"""What stands where there is no figure."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def visible(text: str) -> str:
    """The text with what can't be seen shown as escapes, and no more than 4 marks on a letter.

    >>> visible("user\\u202e7\\x1b[2J")
    'user\\\\u202e7\\\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return _MARKS.sub(r"\1\\u0300...", _UNSEEN.sub(_escape, text))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: float | None) -> str:
    """A count with its thousands apart.

    >>> number(1234567)
    '1,234,567'
    """
    return NOTHING if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """A part of one; never "100 %" for what is not all, nor "0 %" for what is not nothing.

    >>> percent(0.99999), percent(1)
    ('99.9 %', '100 %')
    """
    if value is None:
        return NOTHING
    if value in (0, 1):
        return f"{value:.0%}".replace("%", " %")
    return f"{min(99.9, max(0.1, value * 100)):.1f} %"


def size(value: float | None) -> str:
    """Bytes with three digits that matter.

    >>> size(0), size(1536), size(123_456_789)
    ('0 B', '1.54 kB', '123 MB')
    """
    if value is None:
        return NOTHING
    scaled, unit = float(value), 0
    while abs(scaled) >= 999.5 and unit < len(_SIZES) - 1:
        scaled, unit = scaled / 1000, unit + 1
    digits = 0 if unit == 0 or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f} {_SIZES[unit]}"


def span(value: timedelta | float | None) -> str:
    """A length of time in its two largest units.

    >>> span(timedelta(days=3, hours=4, minutes=5)), span(0.25), span(0)
    ('3d 4h', '0.25 s', '0 s')
    """
    if value is None:
        return NOTHING
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    sign, seconds = ("-" if seconds < 0 else ""), abs(seconds)
    if seconds < 10:
        return f"{sign}{seconds:.2f}".rstrip("0").rstrip(".") + " s"
    left = round(seconds)
    parts: list[str] = []
    for unit_s, name in _UNITS:
        count, left = divmod(left, unit_s)
        if count or parts:
            parts.append(f"{count}{name}" if count else "")
        if len(parts) == 2:
            break
    return sign + " ".join(filter(None, parts))


def age(then: datetime | None, now: datetime) -> str:
    """How long ago, or how far ahead.

    >>> now = datetime(2024, 1, 2, tzinfo=UTC)
    >>> age(datetime(2024, 1, 1, tzinfo=UTC), now), age(datetime(2024, 1, 3, tzinfo=UTC), now)
    ('1d ago', 'in 1d')
    """
    if then is None:
        return NOTHING
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    length = span(float(round(abs(seconds)))).replace(" s", "s")
    return f"{length} ago" if seconds > 0 else f"in {length}"


def timestamp(at: datetime | None) -> str:
    """A time to the second, in UTC.

    >>> timestamp(datetime(2024, 1, 1, tzinfo=UTC))
    '2024-01-01 00:00:00Z'
    """
    return NOTHING if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def command_word(value: Any) -> str:
    """A word of a command line, quoted for a POSIX shell; never with a control character in it.

    >>> command_word("user:7"), command_word("it's"), command_word("a\\nb")
    ('user:7', '"it\\'s"', "$'a\\\\nb'")
    """
    text = key_path(value) if isinstance(value, Key) else str(value)
    if text and re.fullmatch(r"[\w@%+=:,./~-]+", text, re.ASCII):
        return text
    if visible(text) != text or "\n" in text or "\t" in text:
        inner = text.encode("unicode_escape", "backslashreplace").decode().replace("'", "\\'")
        return f"$'{inner}'"
    if "'" in text and not set(text) & set('"$`\\!'):
        return f'"{text}"'
    return "'" + text.replace("'", "'\\''") + "'"


def key_path(key: Key) -> str:
    """A key as the command line takes it.

    >>> key_path(Key("social", "user:7", "a/b"))
    'social/user:7/a%2Fb'
    """
    return "/".join(map(_escaped_part, key.parts))


def _escaped_part(part: str) -> str:
    is_plain = part == part.strip(" ") and part.isprintable() and not set(part) & set("%/")
    if is_plain:
        return part
    kept = "".join(c if c.isprintable() and c not in "%/" else quote(c, safe="") for c in part)
    inner = kept.strip(" ")
    before = len(kept) - len(kept.lstrip(" "))
    after = len(kept) - len(kept.rstrip(" ")) if inner else 0
    return "%20" * before + inner + "%20" * after


def asked(q: str, **fields: str | None) -> str:
    """A filter with more terms, as the command line takes it; what is None is left out.

    >>> asked("lag>1h", pipeline="shop", error="HTTP 503")
    'lag>1h pipeline:shop error:"HTTP 503"*'
    """
    terms = [
        Term(name, ":", value, is_prefix=name == "error")
        for name, value in fields.items()
        if value is not None
    ]
    return str(Filter((*parse(q).terms, *terms)))


def redacted(url: str) -> str:
    """A store's URL without what is secret in it.

    >>> redacted("postgresql://ada:secret@db:5432/app?password=x")
    'postgresql://ada@db:5432/app'
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    netloc = f"{user}@{host}" if user else host
    if parts.scheme == "sqlite":
        return f"sqlite://{parts.netloc}{parts.path}"
    return urlunsplit((parts.scheme, netloc, parts.path, "", ""))


def parts_of(key: Key) -> dict[str, str]:
    """A key as parameters of an address.

    >>> parts_of(Key("shop", "user:7"))
    {'pipeline': 'shop', 'entity': 'user:7'}
    """
    return dict(zip(("pipeline", "entity", "stream"), key.parts, strict=False))
