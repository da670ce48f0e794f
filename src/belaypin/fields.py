"""Reach a field of an item, whatever the item is: a dict, a row or an object.

Shared by everything that takes a field name, a dotted path or a callable, so that the three mean
the same everywhere and a missing field reads the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from operator import itemgetter
from typing import Any

from belaypin.errors import UsageError

__all__ = [
    "Getter",
    "MissingField",
    "as_sequence",
    "check_count",
    "describe",
    "field_names",
    "getter",
    "reader",
    "values",
]

Getter = Callable[[Any], object]

_SHOWN_CHARS = 80
_SHOWN_FIELDS = 12


class MissingField(UsageError):
    """Name a field that the item has. Raised inside; callers add which item it was."""


def describe(value: object) -> str:
    """Return the value for an error message: its repr, cut to one short line.

    >>> describe({"id": 1})
    "{'id': 1}"
    """
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # a broken repr must not hide the error that is being reported
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def field_names(item: object) -> list[str]:
    """Return the names that a field of this item may have, in the item's own order."""
    if _is_mapping(item):
        return [str(name) for name in item.keys()]  # type: ignore[attr-defined]  # noqa: SIM118
    names: Iterable[str] = getattr(type(item), "__struct_fields__", getattr(item, "__dict__", ()))
    return [name for name in names if not name.startswith("_")]


def getter(path: str) -> Getter:
    """Return a function that reads ``path`` ("id", "user.id") of an item.

    Mappings (and rows with ``keys()``) are read by item, everything else by attribute. A field
    whose own name has a dot needs a callable instead. The function raises `MissingField`.

    >>> getter("user.id")({"user": {"id": 7}})
    7
    """
    names = path.split(".")
    if not all(names):
        raise UsageError(f"{path!r} is no field name: write 'name', or 'outer.inner' for a path.")
    if len(names) == 1:
        return lambda item: _field(item, path)
    return lambda item: reduce(_field, names, item)


def values(items: Sequence[Any], by: str | Getter, what: str) -> list[Any]:
    """Return one value per item, read by field name, dotted path or callable.

    Raises `UsageError` that names the first item that has no such value, and ``what`` it was for.
    """
    get = itemgetter(by) if isinstance(by, str) and "." not in by else _getter(by)
    try:
        return list(map(get, items))
    except (LookupError, AttributeError, TypeError, ValueError):
        pass  # objects, or a value is missing: go the slower way, which reads both and names it
    get = _getter(by)
    return [_read(get, item, what, f"{what} of item {i}") for i, item in enumerate(items)]


def reader(by: str | Getter, what: str) -> Getter:
    """Return a function that reads one item's value as `values` does, with the same errors."""
    get = _getter(by)
    return lambda item: _read(get, item, what, what)


def as_sequence(items: Any) -> Sequence[Any]:
    """Return the items as something that can be walked twice."""
    return items if isinstance(items, (list, tuple)) else list(items)


def _getter(by: str | Getter) -> Getter:
    return getter(by) if isinstance(by, str) else by


def _read(get: Getter, item: Any, what: str, where: str) -> object:
    try:
        return get(item)
    except MissingField as error:
        raise UsageError(
            f"{where}: {error} The item is {describe(item)}. "
            f"Pass {what}= as a field that every item has, or a callable."
        ) from None
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{where}: the callable raised {error!r} for {describe(item)}. "
            f"Make it return a value for every item."
        ) from error


def _field(item: Any, name: str) -> object:
    try:
        return item[name] if _is_mapping(item) else getattr(item, name)
    except (LookupError, AttributeError):
        raise MissingField(f"there is no field {name!r} ({_known(item)}).") from None


def _is_mapping(item: object) -> bool:
    # sqlite3.Row, psycopg's and SQLAlchemy's mappings have keys() without being a Mapping.
    return hasattr(type(item), "keys")


def _known(item: object) -> str:
    names = field_names(item)
    if not names:
        return f"{type(item).__name__} has no fields"
    more = ", …" if len(names) > _SHOWN_FIELDS else ""
    return "it has " + ", ".join(names[:_SHOWN_FIELDS]) + more


def check_count(name: str, value: object, *, at_least: int) -> None:
    """Raise UsageError if the argument ``name`` is no count; None is one without a limit."""
    if value is not None and (not isinstance(value, int) or value < at_least):
        raise UsageError(f"{name} must be a number, {at_least} or more, not {describe(value)}.")
