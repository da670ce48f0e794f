"""Things of the user's own code, named on the command line as ``module:attribute``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import belaypin

__all__ = ["imported"]


def imported(reference: str, what: str) -> Any:
    """What ``module:attribute`` names; modules of the current folder can be imported.

    Raises UsageError that says what was looked for. An error inside the module comes through.
    """
    module, _, attribute = reference.partition(":")
    if not (module and attribute):
        raise belaypin.UsageError(
            f"{reference!r} names no {what}: write MODULE:NAME, such as app.states:PROFILE."
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and what it imports is not
        raise belaypin.UsageError(
            f"{reference!r}: there is no module {error.name!r} in {here} or on the module path."
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise belaypin.UsageError(f"{reference!r}: {module} has no {attribute!r}.")
        found = getattr(found, part)
    return found
