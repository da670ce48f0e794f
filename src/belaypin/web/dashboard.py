"""The ASGI app: its pages, its JSON, its files, and the guard before them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from belaypin import AsyncStore
from belaypin.errors import (
    BelaypinError,
    CorruptRecord,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from belaypin.web.access import Access, Refusal
from belaypin.web.guard import HEADERS, Guard
from belaypin.web.jobs import Jobs
from belaypin.web.page import Page, Params, View, read_params
from belaypin.web.render import FOLDER, compile_templates, environment
from belaypin.web.scrape import Scrapes
from belaypin.web.source import Samples, Source
from belaypin.web.words import redacted

__all__ = ["Dashboard", "NoStore", "starlette_app"]


class NoStore(BelaypinError):
    """There is no store at the address that the dashboard was given, or it is not ready."""


class Dashboard:
    """What one app holds: the store, the samples, who may come in."""

    def __init__(
        self, url: str, access: Access, *, work: Any = None, refresh_s: float = 5.0
    ) -> None:
        self.access = access
        self.source = Source(url, read_only=not access.actions)
        self.samples = Samples(every_s=min(5.0, refresh_s))
        self.refresh_s = refresh_s
        self.jobs = Jobs()
        self.label = redacted(url)
        self.work = work
        self.scrapes = Scrapes(url)
        self.ending = asyncio.Event()

    async def aclose(self) -> None:
        """End what is being read, close the store."""
        await self.jobs.aclose()
        await self.samples.aclose()
        await self.scrapes.aclose()
        await self.source.aclose()

    @staticmethod
    @cache
    def version_of(name: str) -> str:
        """A word that changes with a file that we ship."""
        return sha256((FOLDER / "static" / name).read_bytes()).hexdigest()[:12]

    # --- pages -----------------------------------------------------------------------------------

    def route(self, page: Page) -> Route:
        """The route of a page."""

        async def serve(request: Request) -> Response:
            return await self.answer(request, page, read_params, page.build)

        return Route(page.path, serve, methods=["GET"], name=page.title)

    async def answer(
        self,
        request: Request,
        page: Page,
        params: Callable[[type[Params], Request], Params],
        build: Callable[[View, Any], Awaitable[dict[str, Any]]],
    ) -> Response:
        """A page, or the page that says why there is none."""
        view = View(request, self, page.params())
        view.page = page
        try:
            view.params = params(page.params, request)
            view.opened(await self.opened())
            view.pipelines = await view.store.pipelines()
            found = await build(view, view.params)
        except BelaypinError as error:
            return self.trouble(view, error)
        return self.rendered(page.template, view, found)

    async def opened(self) -> AsyncStore:
        """The store; raises NoStore if it is not to be had as it stands."""
        try:
            return await self.source.store()
        except UsageError as error:
            raise NoStore(str(error)) from error

    def trouble(self, view: View, error: BelaypinError) -> Response:
        """What went wrong, and what to do about it, as a page."""
        status, title = self.status_of(error)
        view.params = Params()
        found = {"title": title, "problem": str(error), "status": status}
        return self.rendered("trouble.html", view, found, status=status)

    @staticmethod
    def status_of(error: BelaypinError) -> tuple[int, str]:
        """The status of an answer, and the title of the page, for an error of the store."""
        return next((status, title) for kind, status, title in _TROUBLES if isinstance(error, kind))

    def rendered(
        self, template: str, view: View, found: dict[str, Any], *, status: int = 200
    ) -> Response:
        """A template with what it shows."""
        text = environment().get_template(template).render(view=view, pages=PAGES, **found)
        return HTMLResponse(text, status_code=status)

    async def refuse(self, scope: Scope, refusal: Refusal) -> Response:
        """The page (or the JSON) that turns a visitor away; strangers learn nothing of the store."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith("/api") or path in ("/events", "/metrics"):
            body = {"error": refusal.title, "advice": refusal.advice}
            kind = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            return Response(msgspec.json.encode(body), refusal.status, kind, "application/json")
        request = Request(scope)
        view = View(request, self, Params())
        wanted = path + (f"?{request.url.query}" if request.url.query else "")
        is_get = scope["method"] == "GET"
        found = {"refusal": refusal, "wanted": wanted if is_get else "/"}
        template = "login.html" if refusal.status == 401 else "refused.html"
        return self.rendered(template, view, found, status=refusal.status)

    async def broken(self, request: Request, _error: Exception) -> Response:
        """A mistake of ours: the server's log has it, and the visitor a page without it."""
        advice = "Nothing of it is the store's. The log of the dashboard's server says more."
        response = await self.refuse(request.scope, Refusal(500, "The dashboard failed", advice))
        response.headers.update(HEADERS)  # it is sent past the guard
        return response

    async def http_error(self, request: Request, error: Exception) -> Response:
        """Addresses that are none, methods that won't do."""
        assert isinstance(error, HTTPException)
        refusal = Refusal(error.status_code, *_HTTP.get(error.status_code, (error.detail, "")))
        return await self.refuse(request.scope, refusal)


def starlette_app(dashboard: Dashboard) -> Starlette:
    """The app with its routes, its middleware and its end."""
    from belaypin.web import actions, api, events, login, scrape

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await dashboard.aclose()

    routes: list[BaseRoute] = [
        *(dashboard.route(page) for page in PAGES),
        *actions.routes(dashboard),
        *api.routes(dashboard),
        *events.routes(dashboard),
        *login.routes(dashboard),
        *scrape.routes(dashboard),
        Mount("/static", _Files(directory=FOLDER / "static"), name="static"),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, access=dashboard.access, refuse=dashboard.refuse)],
        exception_handlers={HTTPException: dashboard.http_error, Exception: dashboard.broken},
    )
    app.state.dashboard = dashboard
    compile_templates()
    return app


class _Files(StaticFiles):
    """Our files; their addresses change with them, so browsers may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


_TROUBLES: tuple[tuple[type[BelaypinError], int, str], ...] = (
    (UsageError, 400, "That can't be asked"),
    (NoStore, 503, "There is no store to show"),
    (StoreBusy, 503, "The store is busy"),
    (StoreFull, 503, "The store is full or read-only"),
    (StoreUnavailable, 503, "The store can't be reached"),
    (CorruptRecord, 500, "A stored record is damaged"),
    (BelaypinError, 503, "The store can't answer"),
)
_HTTP = {
    404: ("There is no such page", "The navigation has all pages that there are."),
    405: ("That can't be done here", "Nothing was done."),
}

from belaypin.web.pages import PAGES  # noqa: E402
