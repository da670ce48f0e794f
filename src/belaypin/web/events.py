"""Live updates: a stream of server-sent events that tells open pages when to look again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from belaypin.clock import now_us
from belaypin.times import from_us

if TYPE_CHECKING:
    from belaypin.web.dashboard import Dashboard

__all__ = ["routes"]

_MOST = 200
"""So many pages may listen at once; those beyond show what they have and ask to be reloaded."""
_LIFE_S = 60.0
"""Then the browser connects anew by itself: no proxy cuts the stream, no server waits for it to end."""


def routes(dashboard: Dashboard) -> list[Route]:
    """The address that pages listen to while their tab is in sight."""
    listening = 0

    async def ticks(request: Request) -> AsyncIterator[bytes]:
        nonlocal listening
        listening += 1
        try:
            yield b"retry: 1000\n\n"
            for _ in range(max(1, int(_LIFE_S / dashboard.refresh_s))):
                if await _ends(dashboard.ending, dashboard.refresh_s):
                    return
                if await request.is_disconnected():
                    return
                at = from_us(now_us()).isoformat()
                yield b"event: tick\ndata: " + msgspec.json.encode({"at": at}) + b"\n\n"
        finally:
            listening -= 1

    async def events(request: Request) -> Response:
        if listening >= _MOST:
            return Response(status_code=503, headers={"Retry-After": "60"})
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(ticks(request), media_type="text/event-stream", headers=headers)

    return [Route("/events", events, methods=["GET"], name="events")]


async def _ends(ending: asyncio.Event, seconds: float) -> bool:
    """Wait so long, or until the server ends; returns whether it does."""
    try:
        async with asyncio.timeout(seconds):
            return await ending.wait()
    except TimeoutError:
        return False
