"""Templates: everything is escaped, and what can't be seen in somebody's data is made visible."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from belaypin.keys import Key
from belaypin.web import words

__all__ = ["FOLDER", "compile_templates", "environment"]

FOLDER = Path(__file__).parent

STATES = {
    "quarantined": "bad",
    "failed": "bad",
    "interrupted": "warn",
    "waiting": "warn",
    "expired": "warn",
    "working": "busy",
    "live": "busy",
    "running": "busy",
    "open": "calm",
    "released": "calm",
    "complete": "good",
    "done": "good",
    "absent": "calm",
}
GLYPHS = {
    "quarantined": "⊘",
    "failed": "✕",
    "interrupted": "◐",
    "waiting": "◔",
    "expired": "◐",
    "working": "▶",
    "live": "▶",
    "running": "▶",
    "open": "○",
    "released": "○",
    "complete": "✓",
    "done": "✓",
    "absent": "·",
}


@cache
def environment() -> jinja2.Environment:
    """The templates, and the words that they may use."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in ("age", "number", "percent", "size", "span", "timestamp"):
        found.filters[name] = getattr(words, name)
    found.filters["verbatim"] = escape
    found.filters["pretty"] = _pretty
    found.filters["compact"] = _compact
    found.globals.update(glyphs=GLYPHS, states=STATES)
    return found


def compile_templates() -> None:
    """Make the templates ready, so that no reader waits for it."""
    templates = environment()
    for name in templates.list_templates():
        templates.get_template(name)


def _shown(value: Any) -> Any:
    if value is None:
        return words.NOTHING
    if isinstance(value, Markup):
        return value
    if isinstance(value, (str, Key)):
        return words.visible(str(value))
    return value


def _pretty(value: Any) -> str:
    """JSON data, indented; what is no JSON as its repr."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        return repr(value)


def _compact(value: Any) -> str:
    """JSON data in a line, cut short where it is long."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    except (ValueError, TypeError, RecursionError):
        text = repr(value)
    return text if len(text) <= _LINE else f"{text[:_LINE]} …"


_LINE = 400
