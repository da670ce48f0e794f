"""Coming in with a token, going out again, and how the pages look."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from belaypin.web.access import Refusal
from belaypin.web.forms import read_form, safe_next
from belaypin.web.guard import session_cookie
from belaypin.web.page import THEMES, Params, View

if TYPE_CHECKING:
    from belaypin.web.dashboard import Dashboard

__all__ = ["routes"]

_WRONG_S = 0.5
"""So long does a wrong token wait for its answer."""
_YEAR_S = 365 * 86_400


def routes(dashboard: Dashboard) -> list[Route]:
    """``/login``, ``/logout`` and ``/theme``."""
    access = dashboard.access

    async def login(request: Request) -> Response:
        view = View(request, dashboard, Params())
        if request.method == "GET":
            wanted = safe_next(request.query_params.get("next", "/"))
            asked = Refusal(
                401, "Who are you?", "Type the token that the dashboard was started with."
            )
            return dashboard.rendered("login.html", view, {"refusal": asked, "wanted": wanted})
        fields = await read_form(request, access)
        wanted = safe_next(fields.get("next", "/"))
        if not access.is_token(fields.get("token", "").strip()):
            await asyncio.sleep(_WRONG_S)
            wrong = Refusal(401, "That is not the token", "Look where the dashboard was started.")
            found = {"refusal": wrong, "wanted": wanted}
            return dashboard.rendered("login.html", view, found, status=401)
        _, cookie = access.new_session(is_in=True)
        return _go_on(view, wanted, cookie)

    async def logout(request: Request) -> Response:
        await read_form(request, access)
        _, cookie = access.new_session(is_in=False)
        return _go_on(View(request, dashboard, Params()), "/", cookie)

    async def theme(request: Request) -> Response:
        fields = await read_form(request, access)
        view = View(request, dashboard, Params())
        response = RedirectResponse(view.root + safe_next(fields.get("next", "/")), 303)
        chosen = fields.get("theme", "auto")
        if chosen in THEMES:
            response.set_cookie(
                "belaypin_theme", chosen, _YEAR_S, path=view.root or "/", samesite="strict"
            )
        return response

    return [
        Route("/login", login, methods=["GET", "POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/theme", theme, methods=["POST"]),
    ]


def _go_on(view: View, wanted: str, cookie: str) -> Response:
    response = RedirectResponse(view.root + wanted, 303)
    response.headers.append("Set-Cookie", session_cookie(view.request.scope, cookie))
    return response
