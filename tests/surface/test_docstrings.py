"""Each name that users see says what it is: the public names, and their classes' methods."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import belaypin

MODULES = [
    module.name
    for module in pkgutil.walk_packages(belaypin.__path__, "belaypin.")
    if not module.name.endswith("__main__")
]
ELSEWHERE = ("belaypin.integrations.", "belaypin.pipeline.dask", "belaypin.pipeline.ray")
"""Modules that need the real frameworks: tests/integrations runs their examples."""


def _seen(owner: object, name: str) -> bool:
    """Whether ``owner`` shows ``name`` as something of its own to call or to read."""
    member = inspect.getattr_static(owner, name)
    described = (classmethod, property, staticmethod)
    return not name.startswith("_") and (
        inspect.isfunction(member) or isinstance(member, described)
    )


def test_public_names_are_sorted_and_documented() -> None:
    assert sorted(belaypin.__all__) == list(belaypin.__all__)
    undocumented = []
    for name in belaypin.__all__:
        thing = getattr(belaypin, name)
        if (inspect.isclass(thing) or callable(thing)) and not inspect.getdoc(thing):
            undocumented.append(name)
        if inspect.isclass(thing) and thing.__module__.startswith("belaypin"):
            own = [member for member in vars(thing) if _seen(thing, member)]
            undocumented += [f"{name}.{m}" for m in own if not inspect.getdoc(getattr(thing, m))]
    assert undocumented == []


@pytest.mark.parametrize(
    "module", ["belaypin", *(name for name in MODULES if not name.startswith(ELSEWHERE))]
)
def test_examples_run(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # an example may open app.db
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
