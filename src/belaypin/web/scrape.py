"""``/metrics``: what Prometheus reads, where the extra ``belaypin[metrics]`` is installed."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import belaypin

if TYPE_CHECKING:
    from belaypin.web.dashboard import Dashboard

__all__ = ["Scrapes", "routes"]


class Scrapes:
    """Answers scrapes from a store of its own, opened with the first one: they are made in threads."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: belaypin.Store | None = None
        self._lock = Lock()

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The body and the content type of an answer; raises what ``belaypin.open`` does."""
        from belaypin import metrics

        with self._lock:
            if self._store is None:
                self._store = belaypin.open(self._url, create=False, read_only=True)
            store = self._store
        return metrics.exposition(store, accept)

    async def aclose(self) -> None:
        """Close the store, if it was opened."""
        store, self._store = self._store, None
        if store is not None:
            await asyncio.to_thread(store.close)


def routes(dashboard: Dashboard) -> list[Route]:
    """The address, if there is anything to answer with."""
    if find_spec("prometheus_client") is None:
        return []

    async def scrape(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        try:
            body, kind = await asyncio.to_thread(dashboard.scrapes.exposition, accept)
        except belaypin.BelaypinError as error:
            return Response(f"{type(error).__name__}: {error}\n", 503, media_type="text/plain")
        return Response(body, headers={"Content-Type": kind})

    return [Route("/metrics", scrape, methods=["GET"], name="metrics")]
