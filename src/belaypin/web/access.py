"""Who may come in, and from where a request that changes something may come.

Three walls, each by itself enough against the usual attack: the Host header must name this dashboard
(a page elsewhere can't reach it by re-binding its own name), a person or a proxy must have been let in
where strangers can connect, and whatever changes something must come from our own form.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers

from belaypin.clock import unique_id
from belaypin.errors import UsageError
from belaypin.web import is_loopback

__all__ = ["LOOPBACK_HOSTS", "SESSION", "Access", "Refusal", "Session"]

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
SESSION = "belaypin_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MIN_TOKEN = 16

Scope = Any


class Refusal(NamedTuple):
    """Why a request is turned away, for the person who reads it."""

    status: int
    title: str
    advice: str


class Session(NamedTuple):
    """What a cookie says, once its signature was checked."""

    id: str
    is_in: bool


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in; raises UsageError for a choice that would leave the door open.

    ``token``: people type it once, programs send it as ``Authorization: Bearer``. ``trusted_header``:
    the header in which a proxy at one of ``trusted_proxies`` names the person that it let in.
    ``behind_own_auth``: the app that this one is mounted in lets people in. With none of them only
    this machine may connect. ``hosts``: names under which the dashboard is reached, without ports.
    """

    token: str | None = None
    trusted_header: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    behind_own_auth: bool = False
    actions: bool = False
    secret: bytes = b""

    def __post_init__(self) -> None:
        """Refuse what would not protect."""
        if self.token is not None and len(self.token) < MIN_TOKEN:
            raise UsageError(
                f"The token has {len(self.token)} characters: use at least {MIN_TOKEN}, by chance. "
                f"`belaypin ui --new-token` makes one."
            )
        foreign = [host for host in self.hosts if not is_loopback(host)]
        if foreign and not self.lets_in:
            raise UsageError(
                f"Whoever reaches {foreign[0]} could read the store: name a token, or the header of a "
                f"trusted proxy, first."
            )
        if not self.secret:
            key = unique_id() if self.token is None else self.token
            msgspec.structs.force_setattr(self, "secret", sha256(key.encode()).digest())

    @property
    def lets_in(self) -> bool:
        """Whether somebody is asked who they are."""
        return bool(self.token or self.trusted_header or self.behind_own_auth)

    # --- who -------------------------------------------------------------------------------------

    def stranger(self, scope: Scope, headers: Headers, session: Session | None) -> Refusal | None:
        """Why this visitor is not let in; None: they are."""
        if self.behind_own_auth:
            return None
        if self.trusted_header is not None and self.person(scope, headers) is not None:
            return None
        if self.token is not None:
            return None if self._has_token(headers) or (session and session.is_in) else _LOGIN
        if self.trusted_header is not None:
            return Refusal(
                403,
                "Your proxy did not say who you are",
                f"Reach the dashboard through the proxy that sets {self.trusted_header}.",
            )
        client = (scope.get("client") or ("127.0.0.1", 0))[0]
        return None if is_loopback(client) else _ONLY_HERE

    def person(self, scope: Scope, headers: Headers) -> str | None:
        """Who the proxy says this is; only a trusted proxy is believed."""
        if self.trusted_header is None:
            return None
        client = (scope.get("client") or ("", 0))[0]
        name = headers.get(self.trusted_header, "").strip()
        return name if name and client in self.trusted_proxies else None

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(given.strip())

    def is_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not tell how much of it was right."""
        expected = (self.token or "").encode()
        return bool(expected) and hmac.compare_digest(given.encode(errors="replace"), expected)

    # --- where from ------------------------------------------------------------------------------

    def wrong_host(self, headers: Headers) -> Refusal | None:
        """Why the Host header is not ours; None: it is."""
        host = host_of(headers.get("host", ""))
        if "*" in self.hosts or host in self.hosts:
            return None
        return Refusal(
            421,
            "This is not the host you asked for",
            "If it is, start the dashboard with --allow-host and that name.",
        )

    def foreign(self, method: str, headers: Headers) -> Refusal | None:
        """Why an unsafe method does not come from our own pages; None: it does."""
        if method in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        if origin is not None:
            return None if urlsplit(origin).netloc == headers.get("host") else _FOREIGN
        return None if headers.get("sec-fetch-site") == "same-origin" else _FOREIGN

    # --- sessions --------------------------------------------------------------------------------

    def session(self, headers: Headers) -> Session | None:
        """The visitor's session, if the cookie is one that we made."""
        jar = SimpleCookie()
        try:
            jar.load(headers.get("cookie", ""))
        except CookieError:
            return None
        if SESSION not in jar:
            return None
        name, _, signature = jar[SESSION].value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self.sign("session", name).encode()):
            return None
        kind, _, session_id = name.partition("-")
        return Session(session_id, kind == "in")

    def new_session(self, *, is_in: bool) -> tuple[Session, str]:
        """A session, and the value of its cookie."""
        session = Session(unique_id(), is_in)
        name = f"{'in' if is_in else 'out'}-{session.id}"
        return session, f"{name}.{self.sign('session', name)}"

    def sign(self, purpose: str, text: str) -> str:
        """A signature that only this dashboard can make, good for one purpose."""
        return hmac.new(self.secret, f"{purpose}\0{text}".encode(), sha256).hexdigest()


def host_of(header: str) -> str:
    """The host of a Host header, without its port.

    >>> host_of("localhost:8086"), host_of("[::1]:8086")
    ('localhost', '::1')
    """
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


_LOGIN = Refusal(401, "Who are you?", "Type the token that the dashboard was started with.")
_ONLY_HERE = Refusal(
    403,
    "Only this machine may look",
    "The dashboard asks nobody who they are, so it answers this machine only. Start it with a "
    "token, or behind a proxy that lets people in.",
)
_FOREIGN = Refusal(
    403,
    "This did not come from the dashboard's own page",
    "Nothing was done. Open the page in this browser and try again.",
)
