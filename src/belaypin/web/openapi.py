"""The OpenAPI document of the JSON API, made from the endpoints themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

import belaypin
from belaypin.web.endpoints import Endpoint, Sampled

__all__ = ["document"]

_REF = "#/components/schemas/{name}"


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """OpenAPI 3.1: each path with its parameters, answers and errors."""
    endpoints = tuple(endpoints)
    components = _components(endpoints)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "belaypin",
            "version": belaypin.__version__,
            "description": "What the dashboard shows, as JSON. It only reads. Lengths of time are in "
            "seconds, times in ISO 8601 with their zone. Fields may be added.",
        },
        "paths": {endpoint.path: {"get": _operation(endpoint)} for endpoint in endpoints},
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
}
_ERRORS = {
    "400": "A parameter won't do; the message says which.",
    "401": "A token is needed.",
    "404": "It is not there.",
    "503": "The store can't be reached, or is busy: try again.",
}


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    described = {"content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}}
    return {
        "operationId": endpoint.path.removeprefix("/api/").replace("-", "_"),
        "summary": endpoint.summary,
        "description": (endpoint.params.__doc__ or "").strip(),
        "parameters": _parameters(endpoint),
        "responses": {
            "200": {
                "description": endpoint.summary,
                "content": {"application/json": {"schema": _answer(endpoint.returns)}},
            },
            **{code: {"description": text, **described} for code, text in _ERRORS.items()},
        },
    }


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(endpoint.params)
    fields = schema["$defs"][endpoint.params.__name__]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _without_null(field)}
        for name, field in fields.items()
    ]


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is left out is no null."""
    field = {name: value for name, value in field.items() if name != "default" or value is not None}
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        return {**{n: v for n, v in field.items() if n != "anyOf"}, **kinds[0]}
    if "enum" in field:
        return {**field, "enum": [value for value in field["enum"] if value is not None]}
    return field


def _answer(returns: Any) -> dict[str, Any]:
    if returns is None:
        return {"type": "object"}
    if isinstance(returns, list):
        row = {"$ref": _REF.format(name=returns[0].__name__)}
        rows = {"type": "array", "items": row}
        next_page = {"description": "pass it as `after` (or `before`); null: there is no more"}
        return {
            "type": "object",
            "required": ["rows"],
            "properties": {"rows": rows, "next": next_page},
        }
    if isinstance(returns, tuple):
        whole, value = returns
        either = [{"$ref": _REF.format(name=value.__name__)}, {"type": "null"}]
        own = {"$ref": _REF.format(name=whole.__name__)}
        return {"allOf": [own, {"type": "object", "properties": {"value": {"anyOf": either}}}]}
    return {"$ref": _REF.format(name=returns.__name__)}


def _components(endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    kinds: list[Any] = [Sampled]
    for endpoint in endpoints:
        returns = endpoint.returns
        if returns is not None:
            kinds += [returns] if isinstance(returns, type) else [*returns]
    _, components = msgspec.json.schema_components(dict.fromkeys(kinds), ref_template=_REF)
    return {name: _seconds(schema) for name, schema in components.items()}


def _seconds(schema: Any) -> Any:
    """Lengths of time are numbers here."""
    if isinstance(schema, list):
        return [_seconds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "duration":
        return {"type": "number", "description": "seconds"}
    return {name: _seconds(part) for name, part in schema.items()}
