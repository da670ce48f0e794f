"""Filters: every text either parses, and is written so that it parses again, or is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin import filters
from belaypin.errors import UsageError
from belaypin.filters import FIELDS, STATES, Filter, Term, parse

NAUGHTY = [
    *("", " ", "null", "None", "undefined", "true", "0", "-1", "1e309", "NaN", "0x10", "--", "-*"),
    *("'", '"', "\\", '\\"', "`", "%", "%s", "{}", "{0}", "${x}", "$(id)", ";", "--;", "/*", "*"),
    *("' OR 1=1 --", "'; DROP TABLE belaypin_checkpoint; --", "%00", "a\0b", "\x7f", "\x1b[31m"),
    *("<script>alert(1)</script>", "../../etc/passwd", "a" * 600, "\ufeff", "\u202e", "\u2028"),
    *("\u200b", "\u0000", "\ud800", "\udfff\ud800", "ﷺ", "Ω≈ç√", "田中さん", "🏳️\u200d🌈", "İ", "ß"),
    *("Z͑ͫ̓ͪ̂ͫ̽͏", "١٢٣", "１２３", "²", "\t", "\r\n", "\x85", "\x1c", "\xa0", ":", "::", ">", ">=", "~"),
    *("entity:entity:x", "lag>lag>1h", "state:", "entity:*", "-entity:-", "items>9" + "9" * 40),
]

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
numbers = st.integers(-(10**17), 10**17)
durations = st.sampled_from(["0s", "90s", "1h30m", "7d", "1.5h", "500ms"])
comparisons = st.sampled_from([">", ">=", "<", "<="])


@st.composite
def terms(draw: st.DrawFn) -> Term:
    field = draw(st.sampled_from([None, *FIELDS]))
    is_negated = draw(st.booleans())
    if field is None:
        return Term(None, "~", draw(texts), is_negated=is_negated)
    kind = FIELDS[field]
    if kind == "state":
        return Term(field, ":", draw(st.sampled_from(STATES)), is_negated=is_negated)
    if kind == "number":
        number = draw(numbers)
        operator = draw(comparisons | st.just(":"))
        return Term(field, operator, str(number), False, number, is_negated)
    if kind == "duration":
        text = draw(durations)
        us = parse(f"lag>{text}").terms[0].number
        return Term(field, draw(comparisons), text, False, us, is_negated)
    operator = draw(st.sampled_from([":", "~"]))
    is_prefix = operator == ":" and draw(st.booleans())
    return Term(field, operator, draw(texts), is_prefix, 0, is_negated)


@given(st.lists(terms(), max_size=5))
def test_what_is_written_is_read_again(drawn: list[Term]) -> None:
    written = Filter(tuple(drawn))
    assert parse(str(written)) == written


@given(st.text() | st.lists(st.sampled_from(list('-:>=<~"*\\ abc1') + list(FIELDS))).map("".join))
def test_every_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", NAUGHTY, ids=ascii)
def test_naughty_text_is_read_or_refused(text: str) -> None:
    for written in (text, f"entity:{text}", f'error~"{text}"', f"-{text}*", f"lag>{text}"):
        try:
            found = parse(written)
        except UsageError:
            continue
        assert parse(str(found)) == found


def test_a_refusal_points_at_its_column() -> None:
    with pytest.raises(UsageError) as caught:
        parse("stream:posts stat:failed")
    message = str(caught.value)
    assert "column 14" in message
    assert "'stat'" in message
    assert "state" in message
    assert '"stat:failed"' in message
    shown, pointer = message.splitlines()[1:]
    assert shown[pointer.index("^") :].startswith("stat:failed")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("state:faild", 7, "quarantined"),
        ("state>failed", 1, "state:failed"),
        ("state:fail*", 1, "state:failed"),
        ("lag:1h", 1, "lag>1h"),
        ("lag>soon", 5, "1h30m"),
        ("items>many", 7, "items>0"),
        ("items>1.5", 7, "whole number"),
        ("error>x", 1, "error~part"),
        ("error~", 7, "missing"),
        ("entity:", 8, "missing"),
        ("-", 2, "missing"),
        ('entity:"a', 8, "quote"),
        ('entity:a"b"', 9, "quote"),
        ("entity:a*b", 11, "quote"),
        ("user*", 1, "leave the * out"),
        ("error~a*", 1, "needs no *"),
        ("user:7", 1, '"user:7"'),
    ],
)
def test_refusals_say_what_is_allowed(text: str, column: int, says: str) -> None:
    with pytest.raises(UsageError, match=f"column {column}:") as caught:
        parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("bad", [None, 7, "x" * 5000, "a\0b", "\ud800"])
def test_what_is_no_text_is_refused(bad: object) -> None:
    with pytest.raises(UsageError):
        parse(bad)  # type: ignore[arg-type]


ROW = {
    "pipeline": "social",
    "entity": "user:7",
    "stream": "Posts",
    "state": "failed",
    "lag": timedelta(hours=2) // timedelta(microseconds=1),
    "gaps": 1,
    "items": 90,
    "failures": 0,
    "error": "HTTPError: 429 Too Many",
    "role": ("main", "live"),
    "owner": ("host/boot/ns/pid-3",),
    "updated": 5_000_000,
    "priority": -2,
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "social",
        "USER:"[:4],
        '"user:7"',
        "posts",
        "pipeline:social entity:user* stream:Posts",
        "entity:*",
        "state:failed",
        "-state:open",
        "lag>1h lag<3h lag>=2h lag<=2h",
        "gaps:1 gaps>0",
        "items>89 items<91 items>=90 items<=90",
        "failures:0",
        'error~429 error~"too many" error:HTTP*',
        "role:main role:live",
        "owner:host*",
        "updated<6s",
        "priority<0 priority:-2",
        "-nothing",
    ],
)
def test_a_record_matches(text: str) -> None:
    assert parse(text).matches(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "stream:posts",  # equality heeds the case
        "entity:user",
        "-social",
        "state:open",
        "lag>2h",
        "items>90",
        "error~500",
        "role:other",
        "updated>5s",
        "priority>=0",
        "state:failed items:0",
    ],
)
def test_a_record_does_not_match(text: str) -> None:
    assert not parse(text).matches(ROW)


def test_no_value_is_no_match_and_its_negation_is() -> None:
    assert not parse("lag>0s").matches({"lag": None})
    assert parse("-lag>0s").matches({})


def test_fields_that_a_list_does_not_have_are_refused() -> None:
    parse("owner:host* word").check({"owner"}, "Leases")
    with pytest.raises(UsageError, match="Leases have no field 'items'.*owner"):
        parse("items>3").check({"owner"}, "Leases")


def test_a_parsed_filter_passes_through() -> None:
    parsed = parse("a b")
    assert parse(parsed) is parsed
    assert parsed
    assert not Filter()
    assert filters.folded("ÄbC") == "Äbc"
