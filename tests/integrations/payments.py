"""A payment service behind the middleware: ``python -m tests.integrations.payments FD URL FOLDER``.

The body of a request says how it goes; whatever delays or kills does so at the first attempt only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import belaypin
from belaypin.integrations.asgi import IdempotencyKeyMiddleware

TABLE = "CREATE TABLE payments (key_of TEXT, amount INTEGER)"
MAX_BYTES = 20_000


class Service:
    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._calls = folder / "calls"
        self._go_on = folder / "go_on"
        mark = "%s" if url.startswith("postgresql:") else "?"
        self._insert = f"INSERT INTO payments VALUES ({mark}, {mark})"

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with await belaypin.aopen(self._url) as store:
            yield {"store": store}

    def note(self, text: str) -> None:
        with self._calls.open("a") as file:
            file.write(f"{text}\n")

    async def pay(self, request: Request) -> Response:
        how = await request.json()
        op = request.scope.get("belaypin.once")
        if op is None:
            return JSONResponse({"once": False})
        self.note(f"{op.operation_id} attempt {op.attempt}")
        if op.attempt == 1 and "hold" in how:
            await asyncio.to_thread(self._hold)
        await op.tx.execute(self._insert, (op.operation_id, how.get("amount", 1)))
        if op.attempt == 1:
            self._trouble(how)
        if "stream" in how:
            chunk = b"\xff" * 1000
            return StreamingResponse(iter([chunk] * how["stream"]), media_type="image/x-test")
        if "status" in how:
            return JSONResponse({"attempt": op.attempt}, how["status"])
        return JSONResponse(
            {"attempt": op.attempt, "text": "žluťoučký"},
            201,
            {"Location": "/payments/1", "Set-Cookie": "session=secret", "X-Secret": "s3cret"},
            background=BackgroundTask(self.note, "background"),
        )

    def _hold(self) -> None:
        while not self._go_on.exists():
            time.sleep(0.02)

    def _trouble(self, how: dict[str, Any]) -> None:
        if "raise" in how:
            raise belaypin.RequestMismatch("the application's own, which nobody must take for ours")
        if "die" in how:
            os.kill(os.getpid(), signal.SIGKILL)

    def app(self) -> Starlette:
        middleware = Middleware(
            IdempotencyKeyMiddleware,
            store=lambda scope: scope["state"]["store"],
            tenant=lambda scope: dict(scope["headers"]).get(b"x-user", b"").decode(),
            required=lambda scope: scope["path"] == "/required",
            secret_headers=["X-Secret"],
            max_body_bytes=MAX_BYTES,
            max_response_bytes=MAX_BYTES,
        )
        methods = ["GET", "POST", "PUT"]
        routes = [
            Route("/", self.pay, methods=methods),
            Route("/required", self.pay, methods=methods),
        ]
        return Starlette(routes=routes, middleware=[middleware], lifespan=self.lifespan)


def main(fd: str, url: str, folder: str) -> None:
    listening = socket.socket(fileno=int(fd))
    config = uvicorn.Config(Service(url, Path(folder)).app(), log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(*sys.argv[1:])
