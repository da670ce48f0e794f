"""The JSON API keeps to its own document, whatever it is asked: never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import belaypin.web
from belaypin.web.endpoints import ENDPOINTS
from belaypin.web.openapi import document
from tests.web.conftest import client
from tests.web.test_hostile import NAUGHTY

DOCUMENT = document(ENDPOINTS)
PATHS = sorted(DOCUMENT["paths"])

KNOWN: dict[str, list[Any]] = {
    "pipeline": ["stackexchange", "orders"],
    "entity": ["user:19", "user:27", "shop:0"],
    "stream": ["posts", "edits", "orders", "profile"],
    "id": [1, 2, "invoice:2024-99"],
    "q": [
        "state:failed",
        "lag>1h",
        "stream:posts",
        "gaps>0",
        'error~"x"',
        "priority>1",
        "role:main",
    ],
}


def _fits(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def _answer(path: str, status: int) -> dict[str, Any]:
    responses = DOCUMENT["paths"][path]["get"]["responses"]
    found: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return found


def test_the_document_is_served_and_whole(told: httpx.Client) -> None:
    assert told.get("/api/openapi.json").json() == json.loads(json.dumps(DOCUMENT))
    schemas = DOCUMENT["components"]["schemas"]
    for name, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert name in json.dumps(DOCUMENT)
    for reference in _references(DOCUMENT):
        assert reference.removeprefix("#/components/schemas/") in schemas


def _references(value: Any) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _references(part)
    if isinstance(value, dict) and "$ref" in value:
        yield value["$ref"]


EXAMPLES: dict[str, dict[str, Any]] = {
    "/api/status": {"pipeline": "stackexchange"},
    "/api/items": {"pipeline": "stackexchange", "entity": "user:19", "stream": "posts"},
    "/api/operation": {"id": "invoice:2024-99"},
    "/api/failure": {"id": 2},
    "/api/coverage": {"pipeline": "stackexchange", "entity": "user:19", "stream": "posts"},
    "/api/checkpoint": {"pipeline": "stackexchange", "entity": "user:19", "stream": "posts"},
    "/api/history": {"pipeline": "stackexchange", "entity": "user:19"},
    "/api/diff": {"pipeline": "stackexchange", "entity": "user:19", "stream": "posts", "old": 1},
    "/api/explain": {
        "pipeline": "stackexchange",
        "entity": "user:19",
        "stream": "posts",
        "item": "1",
    },
}


def test_each_answer_is_as_described(told: httpx.Client) -> None:
    for path in PATHS:
        response = told.get(path, params=EXAMPLES.get(path, {}))
        if path == "/api/diff":
            assert response.status_code in (200, 400)  # there may be one version only
        else:
            assert response.status_code == 200, (path, response.text)
        _fits(_answer(path, response.status_code), response.json())


def _values(name: str, schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a parameter may be by the document, and what it may not be."""
    choices: list[st.SearchStrategy[Any]] = [st.sampled_from(NAUGHTY), st.text(max_size=40)]
    if name in KNOWN:
        choices.insert(0, st.sampled_from(KNOWN[name]))
    if "enum" in schema:
        choices.insert(0, st.sampled_from(schema["enum"]))
    if schema.get("type") == "integer":
        low, high = schema.get("minimum", 0), schema.get("maximum", 2**63)
        choices = [st.integers(low, high), st.integers(-(2**70), 2**70), *choices]
    if schema.get("type") == "boolean":
        choices.insert(0, st.sampled_from(["true", "false"]))
    if schema.get("format") == "date-time":
        choices.insert(0, st.datetimes().map(lambda at: f"{at.isoformat()}Z"))
    return st.one_of(choices)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_it_is_asked_makes_it_fail(path: str, fuzzed: httpx.Client) -> None:
    parameters = DOCUMENT["paths"][path]["get"]["parameters"]
    optional = {one["name"]: _values(one["name"], one["schema"]) for one in parameters}

    @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
    @given(st.fixed_dictionaries({}, optional=optional))
    def ask(asked: dict[str, Any]) -> None:
        query = {name: str(value).encode(errors="replace") for name, value in asked.items()}
        response = fuzzed.get(path, params=query)
        assert response.status_code in (200, 400, 404), (asked, response.text)
        _fits(_answer(path, response.status_code), response.json())

    ask()


@pytest.fixture(scope="module")
def fuzzed(sqlite_story: str) -> Iterator[httpx.Client]:
    with client(belaypin.web.app(sqlite_story)) as found:
        yield found
