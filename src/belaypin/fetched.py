"""What a fetch function returns, checked: the items of a page and the cursor of the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from belaypin.codec import dump_state
from belaypin.errors import FetchError, UsageError

__all__ = ["Fetched", "read_fetched", "stored_cursor"]

_MAX_CURSOR_BYTES = 64 * 1024


class Fetched(NamedTuple):
    """One page as the source gave it."""

    items: list[Any]
    next_cursor: Any


def read_fetched(
    returned: object, cursor: Any, items: str | None, next_cursor: str | None
) -> Fetched:
    """Take apart what ``fetch(cursor)`` returned: a pair, or with dotted paths a JSON document.

    Raises FetchError that says what was expected and what came.
    """
    page = _pair(returned) if items is None else _by_path(returned, items, next_cursor)
    following = stored_cursor(page.next_cursor)
    if following is not None and following == cursor:
        raise FetchError(
            f"fetch({cursor!r}) returned the same cursor again, which would never end. Return the "
            f"cursor of the next page, or None after the last."
        )
    return Fetched(page.items, following)


def stored_cursor(cursor: Any) -> Any:
    """The cursor as it will be read back after a crash: JSON, and a copy that nobody changes."""
    if cursor is None:
        return None
    try:
        encoded = dump_state(cursor)
    except UsageError as error:
        raise FetchError(
            f"fetch returned a next cursor that can't be stored as JSON: {error} Return text, a "
            f"number, or a list or dict of those."
        ) from error
    if len(encoded) > _MAX_CURSOR_BYTES:
        raise FetchError(
            f"fetch returned a next cursor of {len(encoded)} bytes; at most {_MAX_CURSOR_BYTES} "
            f"are stored with every page. Return what identifies the place, not the data."
        )
    return msgspec.json.decode(encoded)


def _pair(returned: object) -> Fetched:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise FetchError(
            f"fetch must return (items, next_cursor), but returned {_shape(returned)}. For a JSON "
            f"response, name the paths: pages(fetch, items='data.items', cursor='next')."
        )
    return Fetched(_items(returned[0]), returned[1])


def _by_path(returned: Any, items: str, next_cursor: str | None) -> Fetched:
    document = returned.json() if callable(getattr(returned, "json", None)) else returned
    found = _items(_follow(document, items, required=True))
    return Fetched(found, next_cursor and _follow(document, next_cursor, required=False))


def _follow(document: Any, path: str, *, required: bool) -> Any:
    for name in path.split("."):
        if isinstance(document, Mapping) and name in document:
            document = document[name]
        elif isinstance(document, Sequence) and name.isdecimal() and int(name) < len(document):
            document = document[int(name)]
        elif required:
            raise FetchError(
                f"The response has nothing at {path!r} (no {name!r} in {_shape(document)}). Check "
                f"the path, and that the source did not answer with an error."
            )
        else:
            return None
    return document


def _items(value: object) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise FetchError(
            f"fetch must return a list of items, but returned {_shape(value)}. An empty page is an "
            f"empty list."
        )
    return list(value)


def _shape(value: object) -> str:
    """What a value looks like, in a few words."""
    if isinstance(value, Mapping):
        names = ", ".join(map(repr, list(value)[:8]))
        return f"a dict with {names or 'nothing in it'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"{type(value).__name__}"
