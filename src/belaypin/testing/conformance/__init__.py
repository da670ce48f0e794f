"""The checks that every backend must pass, in both colours. A backend is whatever passes them.

Each check is a function that takes a ``Place``: a fresh, empty database, on which it opens stores
and into which it looks by other means than belaypin's. So a few lines run them all, in any test
runner, against any database::

    @pytest.mark.parametrize("check", conformance.checks(), ids=str)
    def test_conformance(check: conformance.Check, place: conformance.Place) -> None:
        check(place)

``async_checks`` are the same, to be awaited, with an ``AsyncPlace``. Checks whose ``needs`` a place
does not have are to be left out by the caller, who thereby says so; see ``Check.fits``. They assert,
so don't run them under ``python -O``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from belaypin.testing.conformance.needs import Need, needs_of

if TYPE_CHECKING:
    from belaypin.testing.conformance._async.place import AsyncPlace, AsyncUser
    from belaypin.testing.conformance._sync.place import Place, User

__all__ = [
    "SUBJECTS",
    "AsyncPlace",
    "AsyncUser",
    "Check",
    "Need",
    "Place",
    "User",
    "async_checks",
    "checks",
]

SUBJECTS = (
    "leases",
    "fencing",
    "windows",
    "pages",
    "ledger",
    "content",
    "changes",
    "operations",
    "messages",
    "states",
    "coverage",
    "listing",
    "live",
    "joined",
    "errors",
    "hostile",
)
"""What the checks are about, a module each."""


class Check:
    """One check: call it with a place. Its name is ``subject.what_holds``."""

    def __init__(self, subject: str, function: Callable[[Any], Any]) -> None:
        self.name = f"{subject}.{function.__name__.removeprefix('check_')}"
        self.needs = needs_of(function)
        self._function = function

    def __call__(self, place: Any) -> Any:
        return self._function(place)

    def __repr__(self) -> str:
        return self.name

    def fits(self, *offers: Need) -> bool:
        """Whether a place that offers these has what this check needs."""
        return self.needs <= {*offers}


def checks(*subjects: str) -> list[Check]:
    """The checks of the sync side, of these subjects or of all.

    >>> checks("leases")[0]
    leases.a_lease_is_held_by_one
    """
    return list(_collect("_sync", subjects or SUBJECTS))


def async_checks(*subjects: str) -> list[Check]:
    """The checks of the async side, to be awaited."""
    return list(_collect("_async", subjects or SUBJECTS))


def _collect(side: str, subjects: tuple[str, ...]) -> Iterator[Check]:
    for subject in subjects:
        module = import_module(f"{__name__}.{side}.{subject}")
        for name, function in vars(module).items():
            if name.startswith("check_"):
                yield Check(subject, function)


def __getattr__(name: str) -> Any:
    sides = {"AsyncPlace": "_async", "AsyncUser": "_async", "Place": "_sync", "User": "_sync"}
    if name in sides:
        return getattr(import_module(f"{__name__}.{sides[name]}.place"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
