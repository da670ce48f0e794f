"""Fields: one way to reach them in any item, and error messages that stay short and safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from belaypin import fields
from belaypin.errors import UsageError


@dataclass
class Thing:
    id: int
    _hidden: int = 0


class Row(msgspec.Struct):
    id: int
    text: str = ""


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ({"a": 1, 5: 2}, ["a", "5"]),
        (Thing(1), ["id"]),
        (Row(1), ["id", "text"]),
        (7, []),
        (None, []),
    ],
)
def test_field_names(item: Any, names: list[str]) -> None:
    assert fields.field_names(item) == names


def test_a_dicts_methods_are_not_its_fields() -> None:
    with pytest.raises(fields.MissingField, match="no field 'items'"):
        fields.getter("items")({"id": 1})


def test_describe_is_short_and_never_fails() -> None:
    assert len(fields.describe("x" * 10_000)) == 80
    assert fields.describe(Broken()) == "<Broken>"
    assert fields.describe(10**5000) == "<int>"


def test_many_fields_are_cut_short() -> None:
    with pytest.raises(UsageError, match=r"it has f0, .*, …\)") as refused:
        fields.values([{f"f{n}": n for n in range(1000)}], "id", "key")
    assert len(str(refused.value)) < 500


def test_reader_and_values_agree() -> None:
    items = [{"a": {"b": 1}}, {"a": {"b": 2}}]
    assert (
        fields.values(items, "a.b", "key")
        == [1, 2]
        == [fields.reader("a.b", "key")(i) for i in items]
    )
    with pytest.raises(UsageError, match="^key: there is no field 'c'"):
        fields.reader("a.c", "key")(items[0])


def test_an_error_of_the_callable_is_chained() -> None:
    with pytest.raises(UsageError) as refused:
        fields.values([{}], lambda item: item["x"], "key")
    assert isinstance(refused.value.__cause__, KeyError)


def test_a_programming_error_in_the_callable_is_not_hidden() -> None:
    def fails(item: Any) -> object:
        raise RuntimeError("down")

    with pytest.raises(RuntimeError, match="down"):
        fields.values([{}], fails, "key")
