"""The public surface is frozen: a name or a signature changes only together with surface.txt.

To accept a change: ``python tools/generate_reference.py``, and a line in CHANGELOG.md.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import belaypin
from belaypin import errors
from tools.generate_reference import surface
from tools.generate_sync import sync_name

FROZEN = Path(__file__).resolve().parents[2] / "docs" / "reference" / "surface.txt"


def test_the_surface_is_as_it_was_frozen() -> None:
    frozen = FROZEN.read_text(encoding="utf-8").splitlines()
    changes = difflib.unified_diff(
        frozen, surface().splitlines(), "frozen", "now", lineterm="", n=0
    )
    assert "\n".join(changes) == "", "run: python tools/generate_reference.py"


def test_all_is_sorted_and_holds_every_error() -> None:
    assert list(belaypin.__all__) == sorted(belaypin.__all__)
    assert set(errors.__all__) <= set(belaypin.__all__)


def test_every_name_is_there() -> None:
    assert [name for name in belaypin.__all__ if getattr(belaypin, name, None) is None] == []


def test_errors_derive_from_one() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), belaypin.BelaypinError)


def test_sync_and_async_have_the_same_surface() -> None:
    lines = surface().splitlines()
    asynchronous = {line for line in lines if re.match(r"belaypin\.(Async|aopen)", line)}
    translated = {_to_sync(line) for line in asynchronous}
    names = {re.split(r"[.(:\s]", line)[1] for line in translated}
    synchronous = {line for line in lines if re.split(r"[.(:\s]", line)[1] in names} - asynchronous
    assert translated == synchronous


def _to_sync(line: str) -> str:
    line = re.sub(r" \[(await|async for)\]$", "", line)
    line = re.sub(r"Coroutine\[Any, Any, (\w+)\]", r"\1", line)
    line = re.sub(r"Awaitable\[([^\]]+)\]", r"\1", line)
    line = line.replace("AsyncIterable[Sequence[Any]] | Iterable", "Iterable")
    return re.sub(
        r"\w+", lambda word: sync_name(word[0]), line.replace("AsyncIterator", "Iterator")
    )
