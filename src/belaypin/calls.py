"""Calls of users' functions: the operation id that their arguments make, and what they may be."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from itertools import zip_longest
from string import Formatter
from typing import Any, get_type_hints
from uuid import UUID

from belaypin.errors import UsageError
from belaypin.fields import describe

__all__ = ["Call", "IdTemplate", "plain"]

_ALWAYS_ESCAPED = "%:{}"
_SPECIAL = re.compile(r"[^a-zA-Z0-9]")
_LIKE_A_NUMBER = re.compile(r"-?[0-9]+").fullmatch


def plain(value: Any) -> Any:
    """The value of a function of the user's, unless that was async where it can't be.

    Raises UsageError for something to be awaited.
    """
    if not hasattr(value, "__await__"):
        return value
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that nobody awaited it
    raise UsageError(
        f"{describe(value)} is to be awaited, and this store is a sync one: pass a plain function, "
        f"or open the store with belaypin.aopen()."
    )


class IdTemplate:
    """An operation id with places for arguments, such as ``charge:{invoice_id}``.

    No two combinations of arguments make the same id: what separates them in the template is
    percent-encoded inside a value, and so is the last digit of a text that looks like an integer.
    A UUID is its text. Raises UsageError for a template of which that can't be said.

    >>> template = IdTemplate("charge:{user}:{month}", {"user", "month"})
    >>> template.fill({"user": "a:b", "month": 7}), template.fill({"user": "a", "month": "7"})
    ('charge:a%3Ab:7', 'charge:a:%37')
    """

    def __init__(self, template: str, parameters: set[str]) -> None:
        self._literals, self._names = _parsed(template)
        if unknown := [name for name in self._names if name not in parameters]:
            raise UsageError(
                f"{template!r} has {unknown}, and the function has {sorted(parameters)}: a place "
                f"is a plain parameter's name, as in 'charge:{{invoice_id}}'."
            )
        if not all(map(_SPECIAL.search, self._literals[1:-1])):
            raise UsageError(
                f"In {template!r} two places must have something like a colon between them, or "
                f"two different calls could have one id."
            )
        special = {*_ALWAYS_ESCAPED, *_SPECIAL.findall("".join(self._literals))}
        self._escapes = str.maketrans({c: _encoded(c) for c in special})

    def fill(self, arguments: dict[str, Any]) -> str:
        """The id for these arguments. Raises UsageError for one that is no text, int or UUID."""
        values = [self._value(name, arguments[name]) for name in self._names]
        return "".join(map("".join, zip_longest(self._literals, values, fillvalue="")))

    def _value(self, name: str, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(int(value)).translate(self._escapes)
        if isinstance(value, UUID):
            return str(value).translate(self._escapes)
        if not isinstance(value, str):
            raise UsageError(
                f"{name} is {describe(value)} ({type(value).__name__}), and an operation id is "
                f"made of texts, integers and UUIDs: pass a callable that returns the id instead."
            )
        text = str.__str__(value)
        if _LIKE_A_NUMBER(text):
            return text[:-1].translate(self._escapes) + _encoded(text[-1])
        return text.translate(self._escapes)


class Call:
    """A function whose calls are operations: their ids, their requests, and how to make them."""

    def __init__(
        self,
        function: Callable[..., Any],
        operation_id: str | Callable[..., str],
        *,
        request: Callable[..., Any] | bool,
    ) -> None:
        full = inspect.signature(function)
        self.takes_op = "op" in full.parameters
        kept = [p for name, p in full.parameters.items() if name != "op"]
        self.signature = full.replace(parameters=kept)
        self._function = function
        self._request = request
        self._make_id: Callable[..., str]
        if isinstance(operation_id, str):
            kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
            template = IdTemplate(operation_id, {p.name for p in kept if p.kind not in kinds})
            self._make_id = lambda *args, **named: template.fill(self._bound(args, named))
        elif callable(operation_id):
            self._make_id = operation_id
        else:
            raise UsageError(f"The id is a template or a callable, not {describe(operation_id)}.")

    def operation_id(self, args: tuple[Any, ...], named: dict[str, Any]) -> str:
        """The id of the operation that this call is."""
        return self._make_id(*args, **named)

    def request(self, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """What the id must stand for: all arguments by their names, unless told otherwise."""
        if callable(self._request):
            return self._request(*args, **named)
        if not self._request:
            return None
        bound = self._bound(args, named)
        return {n: str(v) if isinstance(v, UUID) else v for n, v in bound.items()}

    def result_type(self) -> Any:
        """The type that a stored result is read as: what the function says it returns."""
        try:
            found = get_type_hints(self._function).get("return", object)
        except Exception:  # noqa: BLE001 -- names that are there for type checkers only
            return object
        return object if found is Any else found

    def _bound(self, args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        bound = self.signature.bind(*args, **named)
        bound.apply_defaults()
        return bound.arguments


def _parsed(template: str) -> tuple[list[str], list[str]]:
    """The template's literal texts, of which there is one more, and the names between them."""
    literals, names = [""], []
    try:
        for text, name, spec, conversion in Formatter().parse(template):
            literals[-1] += text
            if name is None:
                continue
            if spec or conversion or not name.isidentifier():
                raise UsageError(f"{template!r}: a place is a parameter's name and nothing else.")
            names.append(name)
            literals.append("")
    except ValueError as error:
        raise UsageError(f"{template!r} is no template of an id: {error}.") from error
    return literals, names


def _encoded(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
