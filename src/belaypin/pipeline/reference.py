"""References: a pipeline by its name, ``module:attribute``, as processes tell each other."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import belaypin
from belaypin.fields import describe

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Reference", "load"]


class Reference(msgspec.Struct, frozen=True):
    """Where a pipeline is found: its name, and the folder that must be importable for that."""

    name: str
    folder: str | None = None

    def load(self) -> Pipeline:
        """Import it, in whatever process this is."""
        if self.folder is not None and self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        return load(self.name)

    @classmethod
    def of(cls, pipeline: Pipeline, home: str) -> Reference:
        """The reference of a pipeline that was made in the module ``home``.

        Raises UsageError if no other process could find it by one.
        """
        main = sys.modules.get(home)
        names = [name for name, value in vars(main).items() if value is pipeline] if main else []
        if not names:
            raise belaypin.UsageError(
                f"The pipeline {pipeline.name!r} is no attribute of the module {home!r}, so another "
                f"process can't find it: assign it to a name at the top of a module, or use the "
                f"engine 'threads:4'."
            )
        if home not in ("__main__", "__mp_main__"):
            return cls(f"{home}:{names[0]}", _root(home, getattr(main, "__file__", None)))
        return _of_script(main, names[0])


def load(reference: str) -> Pipeline:
    """The pipeline that ``module:attribute`` names; the working directory is importable.

    Raises UsageError that says what was looked for, and where.

    >>> load("nowhere:pipeline")
    Traceback (most recent call last):
    ...
    belaypin.errors.UsageError: 'nowhere:pipeline': there is no module 'nowhere' in ...
    """
    from belaypin.pipeline.definition import Pipeline

    name, _, attribute = reference.partition(":")
    if not (name and attribute):
        raise belaypin.UsageError(
            f"{describe(reference)} names no pipeline: write MODULE:ATTRIBUTE, such as app:pipeline."
        )
    found: Any = _module(reference, name)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Pipeline):
        known = [n for n, value in vars(sys.modules[name]).items() if isinstance(value, Pipeline)]
        hint = f"it has {', '.join(known)}" if known else "it has no belaypin.Pipeline at all"
        what = "is nothing" if found is None else f"is {describe(found)}"
        raise belaypin.UsageError(f"{reference!r}: {attribute!r} {what} in the module; {hint}.")
    return found


def _module(reference: str, name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise belaypin.UsageError(
            f"{reference!r}: there is no module {error.name!r} in {here} or on the module path. "
            f"Run it from the folder that holds {name.partition('.')[0]}.py, or install it."
        ) from error


def _root(module: str, file: str | None) -> str | None:
    """The folder from which a module is imported."""
    if file is None:
        return None
    path = Path(file).resolve()
    depth = module.count(".") + (path.name == "__init__.py")
    return str(path.parents[depth])


def _of_script(main: Any, attribute: str) -> Reference:
    """Of a program that was run: ``python app.py`` or ``python -m app``."""
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        return Reference(f"{spec.name}:{attribute}", str(Path.cwd()))
    if file is None:
        raise belaypin.UsageError(
            "A pipeline of an interactive session can't be found by other processes: write it to "
            "a file, or use the engine 'threads:4'."
        )
    path = Path(file).resolve()
    return Reference(f"{path.stem}:{attribute}", str(path.parent))
