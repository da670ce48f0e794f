"""Acts: each is shown first, with what it is about to do, and done by a form of our own."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from belaypin import BelaypinError
from belaypin.web.acts import ACTS, Act
from belaypin.web.forms import read_form
from belaypin.web.page import Page, Params, View, convert

if TYPE_CHECKING:
    from belaypin.web.dashboard import Dashboard

__all__ = ["flash", "routes"]

_COOKIE = "belaypin_said"
_COOKIE_S = 30


def routes(dashboard: Dashboard) -> list[Route]:
    """``/do/NAME`` for each act: GET shows it, POST does it."""
    return [route for act in ACTS for route in _routes(dashboard, act)]


def _routes(dashboard: Dashboard, act: Act) -> list[Route]:
    path = f"/do/{act.name}"

    async def preview(view: View, params: Params) -> dict[str, object]:
        shown = await act.preview(view, params)
        fields = msgspec.to_builtins(params)
        return {"act": act, "preview": shown, "fields": fields}

    page = Page(path, act.title, "confirm.html", act.params, preview)

    async def do(request: Request) -> Response:
        if not dashboard.access.actions:
            raise HTTPException(403, "This dashboard only reads. Start it with --actions.")
        fields = await read_form(request, dashboard.access)
        view = View(request, dashboard, act.params())
        view.page = page
        try:
            view.params = params = convert(act.params, fields)
            view.opened(await dashboard.opened())
            said, back = await act.act(view, params)
        except BelaypinError as error:
            return dashboard.trouble(view, error)
        dashboard.samples.forget()
        response = RedirectResponse(back, 303)
        _say(view, response, said)
        return response

    return [
        dashboard.route(page),
        Route(path, do, methods=["POST"], name=f"do {act.name}"),
    ]


def _say(view: View, response: Response, text: str) -> None:
    """Have the next page say what was done; signed, so that nobody else puts words there."""
    coded = base64.urlsafe_b64encode(text.encode(errors="replace")[:1500]).decode()
    value = f"{coded}.{view.dashboard.access.sign('said', coded)}"
    path = view.root or "/"
    response.set_cookie(_COOKIE, value, _COOKIE_S, path=path, httponly=True, samesite="strict")


def flash(view: View) -> str | None:
    """What was done by the form that led here."""
    coded, _, signature = view.request.cookies.get(_COOKIE, "").partition(".")
    if not coded or not hmac.compare_digest(
        signature.encode(), view.dashboard.access.sign("said", coded).encode()
    ):
        return None
    return base64.urlsafe_b64decode(coded).decode(errors="replace")
