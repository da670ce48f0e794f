"""What a check asks of its place beyond one store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

__all__ = ["Need", "needs", "needs_of"]

Need = Literal["stores", "joins"]
"""``stores``: several stores, each with connections of its own, on the place at once (a database in
memory has none). ``joins``: the user's own connections, for ``store.joined``."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_MARK = "_belaypin_needs"


def needs(*what: Need) -> Callable[[_Function], _Function]:
    """Say what a check needs.

    >>> @needs("stores")
    ... def check_two_stores(place): ...
    >>> needs_of(check_two_stores)
    frozenset({'stores'})
    """

    def mark(function: _Function) -> _Function:
        setattr(function, _MARK, frozenset(what))
        return function

    return mark


def needs_of(function: Callable[..., Any]) -> frozenset[Need]:
    """What a check needs."""
    found: frozenset[Need] = getattr(function, _MARK, frozenset())
    return found
