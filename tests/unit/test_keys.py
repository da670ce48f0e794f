"""Keys: no two collide, none can carry what a store cannot hold, and each reads well."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin.errors import UsageError
from belaypin.keys import MAX_PART_BYTES, Key

part = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20
)
keys = st.lists(part, min_size=1, max_size=3).map(Key.of)


@given(keys, keys)
def test_encoding_and_equality_agree(one: Key, other: Key) -> None:
    assert (one.encode() == other.encode()) == (one == other)
    assert (hash(one) == hash(other)) or one != other


@given(keys)
def test_a_childs_encoding_begins_with_its_parents(key: Key) -> None:
    if key.parent is not None:
        assert key.encode().startswith(key.parent.encode())
        assert key.parent.child(key.parts[-1]) == key


@given(keys, keys)
def test_keys_sort_by_their_parts(one: Key, other: Key) -> None:
    assert (one < other) == ((one.pipeline, one.entity, one.stream) < _parts(other))


def _parts(key: Key) -> tuple[str, str, str]:
    return (key.pipeline, key.entity, key.stream)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b_c"), ("a_b", "c")),
        (("a:b", "c"), ("a", "b:c")),
        (("a / b",), ("a", "b")),
        (("ab", "c"), ("a", "bc")),
        (("a\x00b".replace("\x00", "\x01"),), ("a", "b")),
        (("\x00\x01".replace("\x00", "\x02") + "a",), ("a",)),
    ],
)
def test_parts_from_strangers_do_not_make_two_keys_one(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert Key.of(one) != Key.of(other)
    assert Key.of(one).encode() != Key.of(other).encode()
    assert str(Key.of(one)) != str(Key.of(other))


def test_of_takes_what_people_write() -> None:
    key = Key("p", "e", "s")
    assert Key.of(key) is key
    assert Key.of("p") == Key("p")
    assert Key.of(("p", "e")) == Key("p", "e")
    assert Key.of(["p", "e", "s"]) == key


def test_depth_parent_and_child() -> None:
    key = Key("p", "e", "s")
    assert [key.depth, Key("p", "e").depth, Key("p").depth] == [3, 2, 1]
    assert key.parent == Key("p", "e")
    assert Key("p").parent is None
    with pytest.raises(UsageError, match="has no children"):
        key.child("x")
    with pytest.raises(UsageError, match="empty"):
        Key("p").child("")


def test_a_key_is_frozen_and_readable() -> None:
    key = Key("social", "user:7", "posts")
    with pytest.raises(AttributeError):
        key.pipeline = "other"  # type: ignore[misc]
    assert str(key) == "social / user:7 / posts"
    assert "\n" not in str(Key("a\nb", "c\x1b[31m"))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("",), "pipeline of a key is empty"),
        (("p", "", "s"), "entity of a key is empty"),
        ((1,), "pipeline of a key must be text"),
        (("p", None), "entity of a key must be text"),
        (("p", "e", b"s"), "stream of a key must be text"),
        (("p", "e\0"), "entity of a key has a NUL"),
        (("p", "e", "\ud800"), "stream of a key has half a surrogate pair"),
        (("p" * 10_000,), r"pipeline of a key has 10000 UTF-8 bytes, more than 512"),
        (("p", "€" * 171), "entity of a key has 513 UTF-8 bytes"),
    ],
)
def test_a_key_that_cannot_be_stored_is_refused(parts: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Key(*parts)
    with pytest.raises(UsageError):
        Key.of(parts)


@pytest.mark.parametrize(
    "value", [None, 5, (), ("a", "b", "c", "d"), {"p": 1}, {"p"}, b"p", ("p", "")]
)
def test_what_is_no_key_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match="key"):
        Key.of(value)


def test_the_longest_parts_are_accepted() -> None:
    longest = "€" * (MAX_PART_BYTES // 3) + "ab"
    assert len(longest.encode()) == MAX_PART_BYTES
    assert Key(longest, longest, longest).depth == 3
