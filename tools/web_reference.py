"""Write docs/reference/dashboard.md from the dashboard itself: its pages, its acts, its JSON API."""

from __future__ import annotations

import inspect
from typing import Any

from belaypin.web.acts import ACTS
from belaypin.web.endpoints import ENDPOINTS
from belaypin.web.openapi import document
from belaypin.web.page import Params
from belaypin.web.pages import PAGES

__all__ = ["parts"]

_HEAD = (
    "What `belaypin ui` serves; [how to open it](../how-to/open-the-dashboard.md) and [how to expose it "
    "safely](../how-to/expose-the-dashboard-safely.md) say more. Every parameter stands in the address."
)
_JSON = (
    "Each answers to GET with JSON, lengths of time in seconds, times in ISO 8601. `/api/openapi.json` "
    "is the OpenAPI 3.1 document with every field. A listing has `rows`, and `next`: pass it as "
    "`after` (or `before`) to go on; null: there is no more. A figure that is sampled has `value`, "
    "null while it is read for the first time, with its `age_s`. "
    "Errors have `error` and `message`: 400 (a parameter "
    "won't do), 401 (a token is needed), 404 (it is not there), 503 (the store can't be reached)."
)


def parts() -> tuple[str, ...]:
    """The page, part by part."""
    return (
        _HEAD,
        "## Pages",
        _table("Page | Address | Parameters", [_page_row(page) for page in PAGES]),
        "## Acts",
        "Each at `/do/NAME`, with `--actions` only. GET shows what it is about, POST does it.",
        _table("Act | Address | Parameters", [_act_row(act) for act in ACTS]),
        "## JSON",
        _JSON,
        _table("Address | What | Parameters", [_endpoint_row(one) for one in ENDPOINTS]),
        "## Others",
        "`/events`: server-sent events, a `tick` every 5 seconds. `/metrics`: for Prometheus, if "
        "`belaypin[metrics]` is installed, as [metrics](metrics.md) says.",
    )


def _table(head: str, rows: list[str]) -> str:
    rule = "|".join("---" for _ in head.split("|"))
    return "\n".join([f"| {head} |", f"|{rule}|", *rows])


def _page_row(page: Any) -> str:
    what = (inspect.getmodule(page.build).__doc__ or "").partition(": ")[2]
    text = " ".join(what.split()).rstrip(".")
    return f"| **{page.title}**: {text} | `{page.path}` | {_parameters(page.params)} |"


def _act_row(act: Any) -> str:
    return f"| {act.title} | `/do/{act.name}` | {_parameters(act.params)} |"


def _parameters(kind: type[Params]) -> str:
    return ", ".join(f"`{name}`" for name in kind.__struct_fields__) or "none"


def _endpoint_row(endpoint: Any) -> str:
    found = document(ENDPOINTS)["paths"][endpoint.path]["get"]["parameters"]
    names = ", ".join(f"`{one['name']}`" for one in found) or "none"
    return f"| `{endpoint.path}` | {endpoint.summary} | {names} |"
