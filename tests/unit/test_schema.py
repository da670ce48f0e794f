"""Schemas alone: chains of upcasts, what is no schema, and how differences read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from belaypin import CorruptRecord, Schema, SchemaTooNew, UsageError
from belaypin.codec import dump_state, encode_frame
from belaypin.differences import MAX_LINES, differences
from belaypin.schema import read_raw, read_state

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5)
json_data = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)


def step(n: int) -> Callable[[Any], Any]:
    """An upcast that leaves a trace of where it stands in the chain."""

    def upcast(data: Any) -> Any:
        data["steps"].append(n)  # it may change what it is given
        return data

    return upcast


def chain(oldest: int, version: int) -> Schema:
    return Schema(version, {n: step(n) for n in range(oldest, version)})


# --- chains ---------------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 12), json_data)
def test_every_step_is_taken_once_and_in_order(
    data: st.DataObject, version: int, rest: Any
) -> None:
    oldest = data.draw(st.integers(0, version))
    start = data.draw(st.integers(oldest, version))
    state = {"steps": [], "rest": rest}
    frame = encode_frame(dump_state(state), schema_version=start)
    read = read_state(frame, start, dict, chain(oldest, version), what="it")
    assert read == {"steps": [*range(start, version)], "rest": rest}


@given(st.integers(1, 10), st.data())
def test_it_does_not_matter_where_a_chain_is_stored_on_its_way(
    version: int, data: st.DataObject
) -> None:
    between = data.draw(st.integers(1, version))
    frame = encode_frame(dump_state({"steps": []}), schema_version=0)
    halfway = read_raw(frame, 0, chain(0, between), what="it")
    stored = encode_frame(halfway, schema_version=between)
    at_once = read_raw(frame, 0, chain(0, version), what="it")
    assert read_raw(stored, between, chain(0, version), what="it") == at_once


@given(st.integers(1, 12), st.integers(1, 12))
def test_newer_is_refused_whatever_the_distance(known: int, more: int) -> None:
    frame = encode_frame(b"{}", schema_version=known + more)
    for schema in (chain(0, known), Schema(known), None):
        with pytest.raises(SchemaTooNew, match=f"^it has schema version {known + more}, "):
            read_state(frame, known + more, object, schema, what="it")


@given(st.integers(1, 12), st.data())
def test_what_is_older_than_the_chain_is_refused(version: int, data: st.DataObject) -> None:
    oldest = data.draw(st.integers(1, version))
    stored = data.draw(st.integers(0, oldest - 1))
    frame = encode_frame(b"{}", schema_version=stored)
    with pytest.raises(
        UsageError, match=rf"version {stored}, .* from {oldest} .*upcasts\[{stored}"
    ):
        read_state(frame, stored, object, chain(oldest, version), what="it")


@given(json_data, st.integers(0, 5), st.integers(0, 5))
def test_the_row_and_the_record_agree_or_it_is_damaged(raw: Any, row: int, record: int) -> None:
    frame = encode_frame(dump_state(raw), schema_version=record)
    schema = Schema(9, dict.fromkeys(range(9), lambda data: data))
    if row == record:
        assert read_state(frame, row, object, schema, what="it") == raw
        return
    with pytest.raises(CorruptRecord, match=f"row says schema version {row}, .* itself {record}"):
        read_state(frame, row, object, schema, what="it")


def test_each_step_gets_what_would_have_been_stored() -> None:
    class Typed(msgspec.Struct):
        tags: tuple[int, ...]

    seen = []

    def second(data: Any) -> Any:
        seen.append(copy.deepcopy(data))
        return data

    schema = Schema(2, {0: lambda data: Typed((1, 2)), 1: second})
    assert schema.upcast({}, 0, what="it") == {"tags": [1, 2]}
    assert seen == [{"tags": [1, 2]}]


@pytest.mark.parametrize(
    "bad", [lambda data: {1: 2}, lambda data: {"a": float("nan")}, lambda data: data["a"], None]
)
def test_a_failing_step_is_named(bad: Any) -> None:
    schema = Schema(3, {1: dict, 2: bad or (lambda data: object())})
    with pytest.raises(UsageError, match=r"^it could not be upcast .* 2 to 3: .*upcasts\[2\]") as e:
        schema.upcast({}, 1, what="it")
    assert e.value.__cause__ is not None


def test_what_stops_the_program_stops_it_in_an_upcast_too() -> None:
    def stopped(data: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Schema(1, {0: stopped}).upcast({}, 0, what="it")


# --- what is no schema ----------------------------------------------------------------------------


@given(st.integers(1, 8), st.sets(st.integers(0, 7)))
def test_a_gap_in_the_upcasts_is_refused(version: int, steps: set[int]) -> None:
    upcasts = dict.fromkeys((n for n in steps if n < version), dict)
    if set(upcasts) == set(range(min(upcasts, default=version), version)):
        assert Schema(version, upcasts).oldest == min(upcasts, default=version)
        return
    with pytest.raises(UsageError, match=r"leave out \d"):
        Schema(version, upcasts)


@pytest.mark.parametrize("version", [0, -1, 2**32, True, 1.0, "1", None])
def test_versions_are_numbers_from_1(version: Any) -> None:
    with pytest.raises(UsageError, match="version"):
        Schema(version)


@pytest.mark.parametrize(
    "upcasts", [[dict], {1: dict}, {-1: dict}, {"0": dict}, {0: 7}, {True: dict}]
)
def test_upcasts_are_functions_by_version(upcasts: Any) -> None:
    with pytest.raises(UsageError, match="upcasts"):
        Schema(1, upcasts)


def test_a_schema_does_not_change() -> None:
    upcasts = {0: dict}
    schema = Schema(1, upcasts)
    upcasts[5] = dict
    assert list(schema.upcasts) == [0]
    with pytest.raises(TypeError):
        schema.upcasts[1] = dict  # type: ignore[index]
    with pytest.raises(AttributeError):
        schema.version = 2  # type: ignore[misc]


# --- differences ----------------------------------------------------------------------------------


def exactly(value: Any) -> Any:
    """The value with its types: 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return {key: exactly(part) for key, part in value.items()}
    return [exactly(part) for part in value] if isinstance(value, list) else (type(value), value)


@given(json_data, json_data)
def test_differences_are_empty_for_equal_documents_only(one: Any, other: Any) -> None:
    assert differences(one, copy.deepcopy(one)) == ""
    assert (differences(one, other) == "") is (exactly(one) == exactly(other))


@given(json_data, json_data)
def test_a_difference_reads_the_same_from_the_other_side(one: Any, other: Any) -> None:
    there = [line[0] for line in differences(one, other).splitlines()]
    back = [line[0] for line in differences(other, one).splitlines()]
    assert [{"+": "-", "-": "+"}.get(mark, mark) for mark in there] == back


def test_differences_say_where() -> None:
    before: Any = {"a": {"b": [1, 2]}, "c d": 1, "same": [{}]}
    after: Any = {"a": {"b": [1, 3, 4]}, "e": None, "same": [{}]}
    assert differences(before, after).splitlines() == [
        "~ a.b[1]: 2 -> 3",
        "+ a.b[2]: 4",
        "- ['c d']: 1",
        "+ e: None",
    ]
    assert differences(1, 1.0) == "~ state: 1 -> 1.0"


def test_differences_are_short() -> None:
    lines = differences({}, {"x" * 500 + str(n): "y" * 5000 for n in range(1000)}).splitlines()
    assert len(lines) == MAX_LINES + 1
    assert max(map(len, lines)) < 200
    assert lines[-1] == "…"
