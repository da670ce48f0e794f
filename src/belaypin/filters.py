"""Filters: the small language in which a list of keys, leases or failures is asked for.

``stream:posts state:failed lag>1h error~"429"``: what is written side by side must all hold. One
grammar for the command line and the dashboard; docs/reference/filters.md describes it. Pure: a
filter knows no database and no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec

from belaypin.errors import UsageError
from belaypin.fields import describe
from belaypin.times import duration_us

__all__ = ["FIELDS", "KEY_FIELDS", "STATES", "Filter", "Kind", "Term", "Values", "parse"]

Kind = Literal["text", "state", "number", "duration"]

FIELDS: dict[str, Kind] = {
    "pipeline": "text",
    "entity": "text",
    "stream": "text",
    "state": "state",
    "lag": "duration",
    "gaps": "number",
    "items": "number",
    "failures": "number",
    "error": "text",
    "role": "text",
    "owner": "text",
    "updated": "duration",
    "priority": "number",
}
"""Every field that a filter may ask for, and of what kind it is."""

KEY_FIELDS = ("pipeline", "entity", "stream")
"""What a word without a field is looked for in."""

STATES = (
    "open",
    "complete",
    "working",
    "waiting",
    "interrupted",
    "failed",
    "quarantined",
    "live",
    "expired",
    "released",
    "running",
    "done",
)
"""What ``state:`` may name: words of ``store.status``, then of leases, then of operations."""

_ALLOWED: dict[Kind, tuple[str, ...]] = {
    "text": (":", "~"),
    "state": (":",),
    "number": (":", ">", ">=", "<", "<="),
    "duration": (">", ">=", "<", "<="),
}
_SHOWN: dict[Kind, str] = {
    "text": "{0}:exact, {0}:begins* or {0}~part",
    "state": "{0}:failed",
    "number": "{0}:0, {0}>0, {0}>=1, {0}<9 or {0}<=9",
    "duration": "{0}>1h, {0}>=30m, {0}<7d or {0}<=90s",
}

Values = Mapping[str, Any]
"""What a record has in each field: text or several texts, a number, or microseconds; None: nothing."""

_MAX_CHARS = 4096
_HEAD = re.compile(r"(-?)(?:([A-Za-z_]+)(:|>=|<=|>|<|~))?")
_BARE = re.compile(r'[^\s"]*')
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED = re.compile(r'\\(["\\])')
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_PLAIN = re.compile(r'[^\s"*\\]+')
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    ":": int.__eq__,
    ">": int.__gt__,
    ">=": int.__ge__,
    "<": int.__lt__,
    "<=": int.__le__,
}


class Term(NamedTuple):
    """One condition. ``field`` is None for a word that is looked for in the key.

    ``operator`` is ``:`` (equal; with ``is_prefix``, begins with), ``~`` (contains) or a comparison.
    ``number`` is what a number or duration (in microseconds) is compared with.
    """

    field: str | None
    operator: str
    text: str
    is_prefix: bool = False
    number: int = 0
    is_negated: bool = False

    def __str__(self) -> str:
        """Return the term as it is written."""
        sign = "-" if self.is_negated else ""
        if self.field is None:
            return sign + _written(self.text, is_word=True)
        star = "*" if self.is_prefix else ""
        return f"{sign}{self.field}{self.operator}{_written(self.text)}{star}"

    def matches(self, values: Values) -> bool:
        """Whether a record with these values meets the condition; nothing equals no value."""
        return self._holds(values) is not self.is_negated

    def _holds(self, values: Values) -> bool:
        if self.field is None:
            wanted = folded(self.text)
            return any(wanted in folded(values.get(name) or "") for name in KEY_FIELDS)
        value = values.get(self.field)
        if value is None:
            return False
        if FIELDS[self.field] in ("number", "duration"):
            return _COMPARE[self.operator](value, self.number)
        return any(map(self._fits, (value,) if isinstance(value, str) else value))

    def _fits(self, value: str) -> bool:
        if self.operator == "~":
            return folded(self.text) in folded(value)
        return value.startswith(self.text) if self.is_prefix else value == self.text


class Filter(msgspec.Struct, frozen=True):
    """A parsed filter: all of its ``terms`` must hold. ``str`` writes it so that it parses again.

    >>> str(parse('  lag>1h   error~"too many"  -state:complete '))
    'lag>1h error~"too many" -state:complete'
    """

    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        """Whether it asks for anything."""
        return bool(self.terms)

    def __str__(self) -> str:
        """Return the filter as it is written."""
        return " ".join(map(str, self.terms))

    def matches(self, values: Values) -> bool:
        """Whether a record with these values meets every term.

        >>> parse("state:failed items>3").matches({"state": "failed", "items": 4})
        True
        """
        return all(term.matches(values) for term in self.terms)

    def of(self, *fields: str) -> Iterator[Term]:
        """The terms that ask for one of these fields and are not negated."""
        return (term for term in self.terms if term.field in fields and not term.is_negated)

    def check(self, fields: Collection[str], what: str) -> None:
        """Raise UsageError if it asks for a field that ``what`` (say, leases) does not have."""
        for term in self.terms:
            if term.field is not None and term.field not in fields:
                raise UsageError(
                    f"{what} have no field {term.field!r} ({term}). They have "
                    f"{', '.join(name for name in FIELDS if name in fields)}."
                )


def parse(text: str | Filter) -> Filter:
    """Read a filter. Raises UsageError that points at the column and lists what is allowed.

    ``field:value`` is equality (``value*``: begins with), ``field>value`` and ``<``, ``>=``, ``<=``
    compare numbers and durations, ``field~text`` is a part of the text, ``-`` in front negates. A
    word without a field is looked for in the key. Text with spaces or quotes stands in ``"``.

    >>> parse("stream:posts gaps>0").terms[1].number
    0
    """
    if isinstance(text, Filter):
        return text
    if not isinstance(text, str):
        raise UsageError(f"A filter is text, such as 'state:failed lag>1h', not {describe(text)}.")
    if len(text) > _MAX_CHARS:
        raise UsageError(f"A filter has at most {_MAX_CHARS} characters, not {len(text)}.")
    if "\0" in text or not _is_unicode(text):
        raise UsageError(f"A filter is plain text, without NUL and half surrogate pairs: {text!r}.")
    return Filter(tuple(_Reader(text).terms()))


def folded(text: str) -> str:
    """Text as it is searched: ASCII letters in one case, as both databases do it."""
    return text.translate(_ASCII_LOWER)


class _Reader:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> Iterator[Term]:
        while self._skip_space():
            yield self._term()

    def _skip_space(self) -> bool:
        rest = self._text[self._at :]
        self._at += len(rest) - len(rest.lstrip())
        return self._at < len(self._text)

    def _term(self) -> Term:
        begin = self._at
        head = _HEAD.match(self._text, begin)
        assert head is not None  # every part of it may be missing
        sign, field, operator = head.groups()
        self._at = head.end()
        if field is not None and field not in FIELDS:
            word = _written(self._text[begin:].split()[0].removeprefix("-"), quote=True)
            self._refuse(
                begin + len(sign),
                f"there is no field {field!r}. Fields are {', '.join(FIELDS)}. To look for that "
                f"text in keys, quote it: {word}",
            )
        value_at = self._at
        value, is_prefix, is_quoted = self._value()
        if not value and not is_prefix:
            what = "a word" if field is None else f"what {field}{operator} is to be"
            self._refuse(value_at, f"{what} is missing")
        if field is None:
            return self._word(begin, value, is_prefix=is_prefix, sign=sign)
        term = Term(field, operator, value, is_prefix, 0, bool(sign))
        return self._checked(term, value_at, begin + len(sign), is_quoted=is_quoted)

    def _word(self, begin: int, value: str, *, is_prefix: bool, sign: str) -> Term:
        if is_prefix:
            self._refuse(
                begin, "a word is found anywhere in a key, so it needs no *: leave the * out"
            )
        return Term(None, "~", value, is_negated=bool(sign))

    def _value(self) -> tuple[str, bool, bool]:
        """A value, whether a star follows it, and whether it was quoted."""
        quoted = _QUOTED.match(self._text, self._at)
        if quoted is not None:
            self._at = quoted.end()
            value, is_quoted = _ESCAPED.sub(r"\1", quoted[1]), True
            is_prefix = self._text.startswith("*", self._at)
            self._at += is_prefix
        else:
            bare = _BARE.match(self._text, self._at)
            assert bare is not None
            self._at = bare.end()
            is_prefix = bare[0].endswith("*")
            value, is_quoted = bare[0].removesuffix("*"), False
        if self._at < len(self._text) and not self._text[self._at].isspace():
            self._refuse(
                self._at,
                'a quote begins or ends here: write "..." around the whole value, with \\" for a '
                "quote and \\\\ for a backslash in it",
            )
        if not is_quoted and ("*" in value or "\\" in value):
            self._refuse(
                self._at,
                "* may only stand at the end of a value; quote a value that has * or \\ in it",
            )
        return value, is_prefix, is_quoted

    def _checked(self, term: Term, value_at: int, begin: int, *, is_quoted: bool) -> Term:
        field = term.field
        assert field is not None
        kind = FIELDS[field]
        if term.operator not in _ALLOWED[kind] or (term.is_prefix and kind != "text"):
            self._refuse(begin, f"write {_SHOWN[kind].format(field)}")
        if term.is_prefix and term.operator == "~":
            self._refuse(begin, f"~ finds a part anywhere, so it needs no *: {field}~part")
        if kind == "state" and term.text not in STATES:
            self._refuse(value_at, f"{term.text!r} is no state. States are {', '.join(STATES)}")
        if kind == "number":
            if _NUMBER.fullmatch(term.text) is None or is_quoted:
                shown = _SHOWN[kind].format(field)
                self._refuse(value_at, f"{term.text!r} is no whole number: write {shown}")
            return term._replace(number=int(term.text))
        if kind == "duration":
            try:
                return term._replace(number=duration_us(term.text, field))
            except UsageError as error:
                self._refuse(value_at, str(error).removesuffix("."))
        return term

    def _refuse(self, at: int, problem: str) -> NoReturn:
        shown = self._text.translate({ord(c): " " for c in "\t\n\r\v\f"})
        raise UsageError(
            f"The filter can't be read at column {at + 1}: {problem}.\n  {shown}\n  {' ' * at}^"
        )


def _written(text: str, *, is_word: bool = False, quote: bool = False) -> str:
    """A value as it is written: in quotes where it must be."""
    head = _HEAD.match(text) if is_word else None
    if not quote and _PLAIN.fullmatch(text) and (head is None or not head[0]):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
