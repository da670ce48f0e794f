"""The ``Idempotency-Key`` header for ASGI applications: a retried request is answered, not run again.

As in the IETF's draft-ietf-httpapi-idempotency-key-header, on ``store.once``. It needs no package
besides belaypin; Starlette and FastAPI take it as they take any ASGI middleware.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import quote

from belaypin import (
    AsyncOnce,
    AsyncStore,
    BelaypinError,
    Fenced,
    OperationRunning,
    RequestMismatch,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
    UsageError,
)

__all__ = ["IdempotencyKeyMiddleware"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_KEY_CHARS = 255
_NO_CONTENT = 204
# A String of RFC 8941, as the draft has it, or bare, as many clients send it.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")

# Of one answer only, of one connection only, or a secret of the first caller's.
_NOT_KEPT = frozenset(
    b"connection content-length date keep-alive proxy-authenticate proxy-authorization server "
    b"set-cookie te trailer transfer-encoding upgrade".split()
)
# The answer is about this attempt, and the next may be another.
_NOT_FINAL = frozenset({401, 403, 408, 409, 425, 429})


def _is_final(status: int) -> bool:
    return status < 500 and status not in _NOT_FINAL


class IdempotencyKeyMiddleware:
    """Answers a request whose ``Idempotency-Key`` was seen before with the response it had then.

    The first request under a key runs, and its response is committed before it is sent. Then:

    - the same request again gets that response, with ``Idempotency-Replayed: true``;
    - while the first one runs: 409, or its response, if that comes within ``wait_s`` seconds;
    - the key with another method, path, query or body: 422;
    - a malformed key, or none where one is ``required``: 400; too long a body: 413; a key whose
      response is kept no longer (``result_ttl``): 410; a store that can't be reached or is busy: 503.

    A request whose application raised, or whose status is not final (401, 403, 408, 409, 425, 429,
    5xx, or what ``is_final`` says), counts as not done: under the same key it runs again. So does
    one whose process died. What the application writes through ``scope["belaypin.once"].tx`` is
    committed with the response, exactly once; all else it does happens at least once.

    ``store`` is an AsyncStore, or takes the scope and returns one. ``tenant`` takes the scope and
    returns whose key it is (a user's or customer's id, no secret): keys of different tenants never
    meet, and nobody is shown another's response. ``required`` is whether a key must be there, for
    all requests with one of ``methods`` or by a function of the scope. Responses are held back
    until they are whole; one of more than ``max_response_bytes`` raises UsageError and is not kept.
    ``secret_headers`` of responses are not kept, besides Set-Cookie and those of a connection.

    >>> def app_with_keys(app, store):
    ...     return IdempotencyKeyMiddleware(
    ...         app, store=store, tenant=lambda scope: scope["user"].username
    ...     )
    """

    def __init__(
        self,
        app: App,
        *,
        store: AsyncStore | Callable[[Scope], AsyncStore],
        tenant: Callable[[Scope], str],
        methods: Collection[str] = ("POST", "PATCH"),
        required: bool | Callable[[Scope], bool] = False,
        is_final: Callable[[int], bool] = _is_final,
        secret_headers: Iterable[str] = (),
        max_body_bytes: int = 1_048_576,
        max_response_bytes: int = 1_048_576,
        ttl_s: float = 60,
        wait_s: float = 0,
        result_ttl: str | float | None = None,
    ) -> None:
        self._app = app
        self._store = store
        self._tenant = tenant
        self._methods = {method.upper() for method in methods}
        self._required = required
        self._is_final = is_final
        self._not_kept = _NOT_KEPT | {name.lower().encode("latin-1") for name in secret_headers}
        self._max_body_bytes = max_body_bytes
        self._max_response_bytes = max_response_bytes
        self._times = {"ttl_s": ttl_s, "wait_s": wait_s, "result_ttl": result_ttl}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI has it."""
        if scope["type"] != "http" or scope["method"] not in self._methods:
            await self._app(scope, receive, send)
            return
        try:
            key = _key_of(scope)
            if key is None and (
                self._required(scope) if callable(self._required) else self._required
            ):
                raise _Refusal(
                    400, "An Idempotency-Key is needed", "Send one, new for each request."
                )
            if key is None:
                await self._app(scope, receive, send)
                return
            await self._serve(scope, receive, send, key)
        except _Refusal as refusal:
            await refusal.response().send(send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, key: str) -> None:
        body = await self._body(scope, receive)
        if body is None:
            return  # the client went away in the middle of it
        once = self._once(scope, key, body)
        collected = _Collected(self._max_response_bytes)
        try:
            response = await self._run(once, scope, body, collected)
        except _NotFinal as answer:
            response = answer.response
        except BelaypinError as error:
            refusal = _refusal_of(error)
            if refusal is None or error is collected.error:  # the application's own
                raise
            raise refusal from error
        await response.send(send)

    def _once(self, scope: Scope, key: str, body: bytes) -> AsyncOnce:
        store = self._store(scope) if callable(self._store) else self._store
        tenant = self._tenant(scope)
        if not isinstance(tenant, str):
            raise UsageError(
                f"tenant= of IdempotencyKeyMiddleware must return a text that says whose key it is, "
                f"not {type(tenant).__name__}."
            )
        # Percent-encoded: no tenant can write an id that is another's.
        operation_id = f"http:{quote(tenant, safe='')}:{quote(key, safe='')}"
        request = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "body": sha256(body).hexdigest(),
        }
        return store.once(operation_id, request=request, **self._times)  # type: ignore[arg-type]

    async def _run(
        self, once: AsyncOnce, scope: Scope, body: bytes, collected: _Collected
    ) -> _Response:
        async with once as op:
            if not op:
                return _replayed(op)
            # No extensions: files that are sent by the server's own means can't be kept.
            within = {**scope, "extensions": {}, "belaypin.once": op}
            try:
                await self._app(within, _receiving(body), collected.send)
            except Exception as error:
                collected.error = error
                raise
            response = collected.response()
            if not self._is_final(response.status):
                raise _NotFinal(response)  # the attempt failed: what it wrote is undone
            op.result = response.as_kept(self._not_kept)
            return response

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body of the request; None if its client went away."""
        announced = _values(scope, b"content-length")
        if any(value.isdigit() and int(value) > self._max_body_bytes for value in announced):
            raise self._too_long()
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body_bytes:
                raise self._too_long()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_long(self) -> _Refusal:
        detail = f"With an Idempotency-Key a body has at most {self._max_body_bytes} bytes."
        return _Refusal(413, "The body is too long", detail)


class _Response(NamedTuple):
    """A whole response."""

    status: int
    headers: Headers
    body: bytes

    def as_kept(self, not_kept: Collection[bytes]) -> dict[str, Any]:
        """The response as it lies in the store: text where it is text."""
        headers = [
            [name.decode("latin-1"), value.decode("latin-1")]
            for name, value in self.headers
            if name.lower() not in not_kept
        ]
        try:
            body = {"text": self.body.decode()}
        except UnicodeDecodeError:
            body = {"base64": b64encode(self.body).decode()}
        return {"status": self.status, "headers": headers, "body": body}

    async def send(self, send: Send) -> None:
        """Send it at last."""
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def _replayed(op: AsyncOnce) -> _Response:
    if op.result_expired:
        detail = "The request was done, and its response is kept no longer. Use a new key."
        raise _Refusal(410, "The response for this Idempotency-Key has expired", detail)
    kept = op.result
    body = kept["body"]
    content = body["text"].encode() if "text" in body else b64decode(body["base64"])
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
    headers.append((b"idempotency-replayed", b"true"))
    if kept["status"] != _NO_CONTENT:
        headers.append((b"content-length", str(len(content)).encode()))
    return _Response(kept["status"], headers, content)


class _Collected:
    """What an application sends, until it is whole."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._start: Message = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._is_whole = False
        self.error: Exception | None = None
        """What the application raised."""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))
            self._size += len(self._parts[-1])
            self._is_whole = not message.get("more_body", False)
        if self._size > self._max_bytes:
            raise UsageError(
                f"The response has more than {self._max_bytes} bytes, so it can't be kept for its "
                f"Idempotency-Key: nothing was kept or sent. Answer with less, say where the rest "
                f"is, or raise max_response_bytes of IdempotencyKeyMiddleware."
            )

    def response(self) -> _Response:
        if not (self._start and self._is_whole):
            raise UsageError(
                "The application returned before its response was whole, so it can't be kept for its "
                "Idempotency-Key: nothing was kept or sent. Send a last http.response.body."
            )
        headers = [(bytes(name), bytes(value)) for name, value in self._start.get("headers", ())]
        return _Response(self._start["status"], headers, b"".join(self._parts))


def _receiving(body: bytes) -> Receive:
    """Gives the body once. That the client went away is not told: it will ask again."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    return receive


class _NotFinal(Exception):
    """Ends an attempt whose response is not to be kept; its text is what the store tells of it."""

    def __init__(self, response: _Response) -> None:
        super().__init__(f"the response had status {response.status}")
        self.response = response


class _Refusal(Exception):
    """A request that is answered by the middleware itself, as RFC 9457 has it."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(title)
        self._status = status
        self._problem = {"title": title, "status": status, "detail": detail}

    def response(self) -> _Response:
        content = json.dumps(self._problem).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(content)).encode()),
        ]
        if self._status in (409, 503):
            headers.append((b"retry-after", b"1"))
        return _Response(self._status, headers, content)


def _refusal_of(error: BelaypinError) -> _Refusal | None:
    """What the client is told of an error of the operation's; None if it is the server's alone."""
    if isinstance(error, RequestMismatch):
        detail = "This key was used before, with another request. Use a new key."
        return _Refusal(422, "The Idempotency-Key is already used", detail)
    if isinstance(error, OperationRunning | Fenced):
        detail = "A request with this key is being processed. Try again in a moment."
        return _Refusal(409, "A request is outstanding for this Idempotency-Key", detail)
    if isinstance(error, StoreBusy | StoreUnavailable | StoreFull):
        detail = "Send the same request with the same key again: it is not done twice."
        return _Refusal(503, "Idempotency-Keys can't be kept now", detail)
    return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _key_of(scope: Scope) -> str | None:
    """The key of a request, None if it has none."""
    values = _values(scope, b"idempotency-key")
    if not values:
        return None
    text = values[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if len(values) > 1 or not (quoted or _BARE.fullmatch(text)) or len(key) > _KEY_CHARS:
        detail = f'Send it once, as "text" of up to {_KEY_CHARS} characters of ASCII, say a UUID.'
        raise _Refusal(400, "The Idempotency-Key can't be read", detail)
    return key
