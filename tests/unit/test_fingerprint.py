"""The canonical form: the RFC's own examples, an independent implementation, fast against slow."""

from __future__ import annotations

import enum
import hashlib
import json
import struct
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from belaypin.errors import UsageError
from belaypin.fingerprint import (
    _canonical_fast,
    _canonical_slow,
    canonical,
    fingerprint,
    item_fingerprint,
    item_fingerprinter,
)

integers = st.integers(-(2**53) + 1, 2**53 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**17), 10**17).map(
    float
)
# Both sides of where UTF-8 and UTF-16 disagree on order, and every kind of escape.
characters = st.characters(exclude_categories=["Cs"]) | st.sampled_from(
    '\0\x1f\x7f\x80"\\/\u2028\ud7ff\ue000\ufb33\uffff\U00010000\U0001f600'
)
texts = st.text(characters, max_size=8) | st.from_regex(r"[0-9.,:\-\[]{0,20}", fullmatch=True)
leaves = st.none() | st.booleans() | integers | floats | texts
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=15,
)
# Values that an encoder may take but that have no canonical form, or none at that size.
odd_leaves = st.sampled_from(
    [
        float("nan"),
        float("inf"),
        2**53,
        -(2**53),
        2**64,
        2**200,
        b"x",
        frozenset(["a"]),
        datetime(2024, 1, 1, tzinfo=UTC),
        Decimal("1.5"),
        "\ud800",
        object(),
    ]
)
any_values = st.recursive(
    leaves | odd_leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | st.just("\udfff"), inner, max_size=4)
        | st.dictionaries(st.integers() | st.none(), inner, max_size=1)
        | st.tuples(inner)
    ),
    max_leaves=8,
)


@settings(max_examples=500)
@given(json_values)
def test_it_agrees_with_an_independent_implementation(value: Any) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@settings(max_examples=500)
@given(any_values)
def test_the_fast_way_agrees_with_the_slow_way_or_steps_aside(value: Any) -> None:
    fast = _canonical_fast(value)
    if fast is not None:
        assert fast == _canonical_slow(value)


@settings(max_examples=1000)
@given(floats)
def test_doubles_both_ways(value: float) -> None:
    expected = rfc8785.dumps(value)
    assert _canonical_slow(value) == expected
    assert canonical([value]) == b"[" + expected + b"]"
    assert float(expected) == value


def test_the_fast_way_is_taken() -> None:
    """Speed is a promise too: what most items hold does not go the slow way."""
    item = {
        "id": "1234567890123456789",
        "n": 5,
        "tags": ["a", "é", "😀"],
        "price": 1.5,
        "full": 2.0,
    }
    assert _canonical_fast(item) == _canonical_slow(item)


@given(json_values)
def test_nothing_is_lost(value: Any) -> None:
    assert json.loads(canonical(value), parse_int=float) == value


# RFC 8785, section 3.2.2 and 3.2.3.
def test_the_rfcs_first_example() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert (
        canonical(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_the_rfcs_order_of_keys() -> None:
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    ordered = msgspec.json.decode(canonical(dict.fromkeys(names, 1)))
    assert list(ordered) == expected


# RFC 8785, appendix B.
@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_the_rfcs_numbers(bits: str, expected: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value) == expected.encode()
    assert canonical({"n": [value]}) == f'{{"n":[{expected}]}}'.encode()


class Colour(str, enum.Enum):  # noqa: UP042  # what older code has
    RED = "red"


class Plain(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


@dataclass
class Profile:
    kind: ClassVar[str] = "profile"
    name: str
    tags: tuple[str, ...] = ()


class Row(msgspec.Struct, tag="row", rename="camel"):
    user_name: str


@pytest.mark.parametrize(
    ("value", "same_as"),
    [
        ((1, "a"), [1, "a"]),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        ({"c": Colour.RED, Text("t"): Text("x")}, {"c": "red", "t": "x"}),
        (Profile("a", ("x",)), {"name": "a", "tags": ["x"]}),
        ([Profile("a")], [{"name": "a", "tags": []}]),
        (Row("a"), {"type": "row", "userName": "a"}),
        ({"a": 1.0, "b": -0.0}, {"a": 1, "b": 0}),
        ({"a": True}, {"a": True}),
    ],
)
def test_what_is_the_same_json_has_the_same_form(value: Any, same_as: Any) -> None:
    assert canonical(value) == canonical(same_as)


def test_true_is_not_one() -> None:
    assert canonical({"a": True}) != canonical({"a": 1})
    assert canonical({"a": None}) != canonical({})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [0, float("nan")]}, r"value\['a'\]\[1\] is nan"),
        ([float("inf")], r"value\[0\] is inf"),
        (float("-inf"), "value itself is -inf"),
        ({"id": 2**53}, r"value\['id'\] is an integer beyond 2\^53 - 1.*send as text"),
        (-(2**53), "integer beyond"),
        ({"a": "\ud800"}, r"value\['a'\] has half a surrogate pair"),
        ({"\udfff": 1}, r"half a surrogate pair"),
        ({"a": {1: 2}}, r"value\['a'\] has the key 1, which is no text"),
        ({"a": {None: 2}}, "has the key None"),
        ({"a": {"b": [b"x"]}}, r"value\['a'\]\['b'\]\[0\] is b'x' \(bytes\)"),
        ({"a": {1, 2}}, r"value\['a'\] is \{1, 2\} \(set\)"),
        ({"a": datetime(2024, 1, 1, tzinfo=UTC)}, "datetime"),
        ({"a": Decimal(1)}, "Decimal"),
        ({"a": Plain.RED}, "Plain"),
        ({"a": Profile}, "type"),
        (Profile(b"x"), r"value\['name'\] is b'x'"),  # type: ignore[arg-type]
        (object(), "object"),
    ],
)
def test_what_has_no_form_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        canonical(value)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UsageError, match="contains itself"):
        canonical(value)


# --- fingerprints ---------------------------------------------------------------------------------


def test_a_fingerprint_is_spec_algorithm_and_digest() -> None:
    value = {"b": 1, "a": 2}
    assert fingerprint(value) == "jcs:sha256:" + hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
    spec = "jcs-" + hashlib.sha256(b'["at","z"]').hexdigest()[:8]
    digest = hashlib.sha256(canonical(value)).hexdigest()
    assert fingerprint({**value, "at": 5}, ignore=("z", "at", "z")) == f"{spec}:sha256:{digest}"


def test_what_is_ignored_makes_no_difference_and_all_else_does() -> None:
    base = {"a": 1, "meta": {"at": 1, "by": "x"}, "posts": [{"id": 1, "seen": 5}]}
    ignore = ["meta.at", "posts.seen", "gone"]
    same = {"a": 1.0, "meta": {"by": "x", "at": 2}, "posts": [{"id": 1}], "gone": object()}
    assert fingerprint(base, ignore=ignore) == fingerprint(same, ignore=ignore)
    assert fingerprint(base, ignore=ignore) != fingerprint(base, ignore=["meta.at", "posts.seen"])
    for other in (
        {**base, "a": 2},
        {**base, "meta": {"by": "y"}},
        {**base, "posts": [{"id": 2}]},
        {**base, "posts": []},
    ):
        assert fingerprint(other, ignore=ignore) != fingerprint(base, ignore=ignore)
    assert "at" in base["meta"], "the argument is left alone"  # type: ignore[operator]


def test_an_outer_path_swallows_an_inner_one() -> None:
    for ignore in (["meta", "meta.at"], ["meta.at", "meta"], ["meta.at.x", "meta", "meta.at"]):
        assert fingerprint({"a": 1, "meta": {"b": 1}}, ignore=ignore) == fingerprint(
            {"a": 1}, ignore=ignore
        )
    deep = {"a": {"b": {"c": 1, "d": 2}}}
    assert fingerprint(deep, ignore=["a.b.c"]) != fingerprint({"a": {"b": {}}}, ignore=["a.b.c"])


def test_fields_of_objects_can_be_ignored() -> None:
    one, other = Profile("a", ("x",)), Profile("a", ("y",))
    assert fingerprint(one, ignore=["tags"]) == fingerprint(other, ignore=["tags"])
    assert fingerprint({"p": one}, ignore=["p.tags"]) == fingerprint(
        {"p": other}, ignore=["p.tags"]
    )


@pytest.mark.parametrize("ignore", ["fetched_at", [1], [["a"]], [""], ["a..b"], [None]])
def test_a_wrong_ignore_is_refused(ignore: Any) -> None:
    with pytest.raises(UsageError, match="ignore"):
        fingerprint({}, ignore=ignore)


def test_an_item_fingerprint_is_of_the_content_only() -> None:
    of = item_fingerprinter(["title", "score"])
    item = {"id": 1, "title": "a", "score": 1}
    assert of(item) == hashlib.sha256(b'{"score":1,"title":"a"}').digest()[:16]
    assert (
        of(item)
        == of({**item, "id": 2, "score": 1.0})
        == item_fingerprint(item, ["score", "title"])
    )
    assert of(item) != of({**item, "title": "b"})
    assert of({"title": "a", "score": None}) != of({"title": "a"})


def test_content_may_be_paths_objects_or_a_callable() -> None:
    item = {"id": 1, "user": {"name": "x"}, "text": "t"}
    assert item_fingerprint(item, ["user.name", "none"]) != item_fingerprint(item, ["text"])
    assert item_fingerprint(Profile("a"), ["name"]) == item_fingerprint({"name": "a"}, ["name"])
    by_callable = item_fingerprint(item, lambda item: item["user"])
    assert by_callable == hashlib.sha256(b'{"name":"x"}').digest()[:16]


@pytest.mark.parametrize("content", ["title", [], (), ["titel"], ["a.b"]])
def test_content_that_no_item_has_is_refused(content: Any) -> None:
    with pytest.raises(UsageError, match="content"):
        item_fingerprint({"title": "a"}, content)
