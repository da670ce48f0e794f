"""The middleware that every request passes: hosts, visitors, foreign requests, headers, sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from belaypin.web.access import SESSION, Access, Refusal

__all__ = ["HEADERS", "MAX_BODY", "Guard", "session_cookie"]

MAX_BODY = 64 * 1024
MAX_URL = 16 * 1024

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with that, browsers send "Origin: null" with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Refuse = Callable[[Scope, Refusal], Awaitable[Response]]

_OPEN = ("/static/", "/login")
"""What strangers may ask for: how to come in, and what that page looks like."""


class Guard:
    """Turns away what must not come in, gives everybody a session, sets the headers."""

    def __init__(self, app: ASGIApp, access: Access, refuse: Refuse) -> None:
        self._app = app
        self._access = access
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        session, cookie = self._access.session(headers), None
        is_fresh = session is None
        if session is None:
            session, cookie = self._access.new_session(is_in=False)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["belaypin_session"] = session
        state["belaypin_person"] = self._access.person(scope, headers)
        send = _with_headers(send, scope, cookie if is_fresh else None)
        refusal = self._refusal(scope, headers, session)
        if refusal is not None:
            response = await self._refuse(scope, refusal)
            await response(scope, receive, send)
            return
        await self._app(scope, _bounded(receive), send)

    def _refusal(self, scope: Scope, headers: Headers, session: Any) -> Refusal | None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > MAX_URL:
            return Refusal(414, "The address is too long", f"It may have {MAX_URL} bytes.")
        if _declared(headers) > MAX_BODY:
            return Refusal(413, "That is too much", f"A form may have {MAX_BODY} bytes.")
        if wrong := self._access.wrong_host(headers):
            return wrong
        if foreign := self._access.foreign(scope["method"], headers):
            return foreign
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path.startswith(_OPEN):
            return None
        return self._access.stranger(scope, headers, session)


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() and len(length) < 20 else MAX_BODY + 1


def _bounded(receive: Receive) -> Receive:
    """The body, cut off where it grows beyond what a form may have."""
    seen = 0

    async def bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return bounded


def _with_headers(send: Send, scope: Scope, cookie: str | None) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
            given = any(value.startswith(SESSION) for value in headers.getlist("set-cookie"))
            if cookie is not None and not given:
                headers.append("Set-Cookie", session_cookie(scope, cookie))
        await send(message)

    return with_headers


def session_cookie(scope: Scope, value: str) -> str:
    """The Set-Cookie header of a session: no script reads it, no other site sends it."""
    path = scope.get("root_path") or "/"
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{SESSION}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}"
