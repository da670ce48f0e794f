"""Serving the dashboard with uvicorn: open streams of events end with it, and hold nothing up."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

__all__ = ["Server"]

_GRACE_S = 2


class Server(uvicorn.Server):
    """A server for the app of ``belaypin.web.app``."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # who a visitor is, the dashboard decides, by the peer itself
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell the pages that listen, then end as uvicorn does."""
        self._app.state.dashboard.ending.set()
        await super().shutdown(sockets)
