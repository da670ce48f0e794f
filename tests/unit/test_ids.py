"""Item ids: every accepted id stays itself; everything doubtful is refused, naming the item."""

from __future__ import annotations

import enum
import sqlite3
import uuid
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin.errors import UsageError
from belaypin.ids import MAX_ID_BYTES, check_new_ids, extract_ids, key_function

storable = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50
)
int64 = st.integers(-(2**63), 2**63 - 1)


class Colour(str, enum.Enum):  # noqa: UP042  # what older code has
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Post:
    id: Any


class Row(msgspec.Struct):
    id: int


Pair = namedtuple("Pair", ["id", "text"])  # noqa: PYI024  # the untyped kind is the point


@given(st.lists(storable | int64))
def test_text_and_integers_stay_as_they_are(ids: list[str | int]) -> None:
    result = extract_ids([{"id": value} for value in ids], "id")
    assert result == ids
    assert [type(value) for value in result] == [type(value) for value in ids]
    check_new_ids(result)


@given(st.lists(st.lists(storable | int64 | st.uuids(), min_size=1, max_size=3), max_size=5))
def test_composite_ids_are_one_to_one(parts: list[list[Any]]) -> None:
    texts = extract_ids(parts, tuple)
    plain = [tuple(str(p) if isinstance(p, uuid.UUID) else p for p in part) for part in parts]
    assert len(set(texts)) == len(set(plain))
    for text, part in zip(texts, plain, strict=True):
        assert msgspec.json.decode(str(text)) == list(part)


@pytest.mark.parametrize(
    ("item", "key", "expected"),
    [
        ({"id": "a"}, "id", "a"),
        ({"user": {"id": 7}}, "user.id", 7),
        (Post("a"), "id", "a"),
        (Row(5), "id", 5),
        (Pair(3, "x"), "id", 3),
        ({"p": Post({"id": 1})}, "p.id.id", 1),
        ({"a": 1, "b": "x"}, lambda item: (item["a"], item["b"]), '[1,"x"]'),
        ({"id": ["é", 2]}, "id", '["é",2]'),
        ({"id": uuid.UUID(int=5)}, "id", "00000000-0000-0000-0000-000000000005"),
        ({"id": Colour.RED}, "id", "red"),
        ({"id": Number.ONE}, "id", 1),
        ({"id": 2**63 - 1}, "id", 2**63 - 1),
        ({"id": -(2**63)}, "id", -(2**63)),
    ],
)
def test_where_ids_may_be(item: Any, key: Any, expected: Any) -> None:
    for ids in (extract_ids([item], key), extract_ids([item, item], key)[1:]):
        assert ids == [expected]
        assert type(ids[0]) is type(expected)
    assert key_function(key)(item) == expected


def test_rows_of_a_database_are_items() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT 7 AS id, 'x' AS text UNION SELECT 8, 'y'").fetchall()
    connection.close()
    assert extract_ids(rows, "id") == [7, 8]
    with pytest.raises(UsageError, match="no field 'uid'.*it has id, text"):
        extract_ids(rows, "uid")


def test_text_and_integer_are_two_ids() -> None:
    assert extract_ids([{"id": 1}, {"id": "1"}], "id") == [1, "1"]


def test_a_generator_of_items_is_read_once() -> None:
    assert extract_ids(({"id": n} for n in range(3)), "id") == [0, 1, 2]  # type: ignore[arg-type]
    assert extract_ids((Post(n) for n in range(3)), "id") == [0, 1, 2]  # type: ignore[arg-type]
    assert extract_ids([], "id") == []


@pytest.mark.parametrize(
    "value",
    [
        True,
        1.0,
        None,
        b"a",
        (),
        (1.5,),
        ("a", None),
        (("a",),),
        {"a": 1},
        {"a"},
        2**63,
        -(2**63) - 1,
    ],
)
def test_what_is_no_id_is_refused_naming_the_item(value: Any) -> None:
    good: list[Any] = [{"id": 1, "n": 0}]
    with pytest.raises(UsageError, match="key of item 1.*'n': 99"):
        extract_ids([*good, {"id": value, "n": 99}], "id")
    with pytest.raises(UsageError):
        key_function("id")({"id": value})


@pytest.mark.parametrize(
    ("item", "key", "message"),
    [
        ({"uid": 1, "text": "x"}, "id", r"item 1: there is no field 'id' \(it has uid, text\)"),
        ({"user": {}}, "user.id", "item 1: there is no field 'id'"),
        ({"user": None}, "user.id", "item 1: there is no field 'id'"),
        (None, "id", "item 1: there is no field 'id'"),
        ("text", "id", "item 1: there is no field 'id'"),
        ({"a": 1}, lambda item: item["b"], r"item 1: the callable raised KeyError\('b'\)"),
        ({"a": None}, lambda item: item["a"].b, "item 1: the callable raised AttributeError"),
        ({}, "items", "item 1: there is no field 'items'"),
    ],
)
def test_an_item_without_the_key_is_refused(item: Any, key: Any, message: str) -> None:
    good = {"id": 1, "b": 2, "a": Post(1), "items": 1, "user": {"id": 1}}
    if callable(key):
        good["a"] = type("Thing", (), {"b": 1})()
    with pytest.raises(UsageError, match=message) as refused:
        extract_ids([good, item], key)
    assert "Pass key=" in str(refused.value) or "Make it return" in str(refused.value)


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b"])
def test_an_empty_field_name_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        extract_ids([{"a": {"": 1}}], key)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
        ("x" * (MAX_ID_BYTES + 1), "1025 UTF-8 bytes"),
        ("€" * 342, "1026 UTF-8 bytes"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(text: str, message: str) -> None:
    cases: list[list[str | int]] = [[text], ["a", 5, text, "é"], [*map(str, range(500)), text]]
    for ids in cases:
        with pytest.raises(UsageError, match=message):
            check_new_ids(ids)
    with pytest.raises(UsageError, match=message):
        key_function("id")({"id": text})


def test_halves_of_a_pair_in_two_ids_do_not_pass_as_one_character() -> None:
    with pytest.raises(UsageError, match="surrogate"):
        check_new_ids(["\ud83d", "\ude00"])
    with pytest.raises(UsageError, match="surrogate"):
        extract_ids([("a", "\ud83d")], tuple)


def test_the_longest_ids_are_accepted() -> None:
    check_new_ids(["x" * MAX_ID_BYTES, "€" * (MAX_ID_BYTES // 3), "😀" * (MAX_ID_BYTES // 4), 5])
    check_new_ids([])
    check_new_ids([1, 2])
