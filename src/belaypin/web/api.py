"""The JSON API: the data of the pages, read only, described by its own OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from belaypin import BelaypinError
from belaypin.web.endpoints import ENDPOINTS, Endpoint, NotThere
from belaypin.web.openapi import document
from belaypin.web.page import View, read_params

if TYPE_CHECKING:
    from belaypin.web.dashboard import Dashboard

__all__ = ["routes"]


def routes(dashboard: Dashboard) -> list[Route]:
    """Each endpoint, and the document that describes them."""
    described = msgspec.json.format(msgspec.json.encode(document(ENDPOINTS)), indent=2)

    async def openapi(_request: Request) -> Response:
        return Response(described, media_type="application/json")

    return [
        *(_route(dashboard, endpoint) for endpoint in ENDPOINTS),
        Route("/api/openapi.json", openapi, methods=["GET"]),
    ]


def _route(dashboard: Dashboard, endpoint: Endpoint) -> Route:
    async def serve(request: Request) -> Response:
        view = View(request, dashboard, endpoint.params())
        try:
            params = read_params(endpoint.params, request)
            view.opened(await dashboard.opened())
            found = await endpoint.read(view, params)
        except NotThere as error:
            return _json({"error": "NotThere", "message": str(error)}, 404)
        except BelaypinError as error:
            status, _ = dashboard.status_of(error)
            return _json({"error": type(error).__name__, "message": str(error)}, status)
        return _json(found)

    return Route(endpoint.path, serve, methods=["GET"], name=endpoint.summary)


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
