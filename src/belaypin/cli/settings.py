"""Which store is meant: ``--store``, ``BELAYPIN_STORE``, ``belaypin.toml`` or ``pyproject.toml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import belaypin
from belaypin.compat import environment

__all__ = ["VARIABLE", "Settings", "resolve"]

VARIABLE = "BELAYPIN_STORE"
_ENVIRONMENT = {"store": VARIABLE, "cache": "BELAYPIN_CACHE", "pipeline": "BELAYPIN_PIPELINE"}
_KNOWN: dict[str, type] = {"store": str, "cache": str, "pipeline": str, "retention": dict}


@dataclass(frozen=True)
class Settings:
    """What is set, and (``source``) what has set the store."""

    store: str | None
    source: str
    cache: str | None = None
    pipeline: str | None = None
    retention: dict[str, Any] = field(default_factory=dict)

    def url(self, preferred: str | None = None) -> str:
        """The URL of the store. Raises UsageError that says how to set it.

        ``preferred`` comes before what stands in a file.
        """
        url = self.store
        if preferred is not None and self.source not in ("--store", VARIABLE):
            url = preferred
        if url is None:
            raise belaypin.UsageError(
                f"No store is named. Pass --store sqlite:///app.db, or set {VARIABLE}, or write "
                f'store = "sqlite:///app.db" in a file belaypin.toml here or above.'
            )
        return url


def resolve(option: str | None, folder: Path | None = None) -> Settings:
    """Find the settings, the nearest first; a file is looked for in ``folder`` and those above."""
    file, table = _nearest(Path.cwd() if folder is None else folder)
    found: dict[str, Any] = {name: table[name] for name in _KNOWN if name in table}
    source = f"{file}" if file is not None and "store" in found else "nothing"
    if file is not None and "store" in found:
        found["store"] = _beside(found["store"], file.parent)
    for name, variable in _ENVIRONMENT.items():
        if (value := environment(variable)) is not None:
            found[name] = value
            source = variable if name == "store" else source
    if option is not None:
        found["store"], source = option, "--store"
    found.setdefault("store", None)
    return Settings(source=source, **found)


def _nearest(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    for place in (folder, *folder.parents):
        for file, inside in ((place / "belaypin.toml", ()), (place / "pyproject.toml", _TOOL)):
            table = _table(file, inside) if file.is_file() else None
            if table is not None:
                return file, _checked(table, file)
    return None, {}


_TOOL = ("tool", "belaypin")


def _table(file: Path, inside: tuple[str, ...]) -> dict[str, Any] | None:
    import tomllib  # most calls read no file

    try:
        text = file.read_text(encoding="utf-8")
        if inside and ".".join(inside) not in text:
            return None  # most pyproject.toml are long, and not about us
        table: Any = tomllib.loads(text)
    except (OSError, ValueError) as error:  # unreadable, not UTF-8 or not TOML
        if inside:
            return None  # a pyproject.toml that is not ours to judge
        raise belaypin.UsageError(f"{file} can't be read: {error}.") from error
    for name in inside:
        table = table.get(name) if isinstance(table, dict) else None
    return table if isinstance(table, dict) else None


def _checked(table: dict[str, Any], file: Path) -> dict[str, Any]:
    for name, value in table.items():
        if name not in _KNOWN:
            raise belaypin.UsageError(
                f"{file}: there is no setting {name!r}. There are {', '.join(_KNOWN)}."
            )
        if not isinstance(value, _KNOWN[name]):
            wanted = "a table" if _KNOWN[name] is dict else "text"
            raise belaypin.UsageError(f"{file}: {name} must be {wanted}, not {value!r}.")
    return table


def _beside(url: str, folder: Path) -> str:
    """A file of a settings file lies beside it, wherever the command is called."""
    prefix = "sqlite:///"
    name = url[len(prefix) :]
    if not url.startswith(prefix) or name.startswith("/") or name == ":memory:":
        return url
    return f"{prefix}{quote(str(folder.resolve()))}/{name}"
