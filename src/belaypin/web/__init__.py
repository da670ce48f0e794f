"""The dashboard: an ASGI app over one store, and nothing of its own.

    import belaypin.web
    app = belaypin.web.app("sqlite:///app.db")       # uvicorn module:app, or mount it in yours

``belaypin ui`` serves it on this machine. It needs the extra ``belaypin[ui]``.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from belaypin.errors import MissingDriver

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["app", "is_loopback"]


def app(
    store_url: str,
    *,
    actions: bool = False,
    token: str | None = None,
    trusted_header: str | None = None,
    trusted_proxies: Iterable[str] = ("127.0.0.1", "::1"),
    hosts: Iterable[str] = (),
    behind_own_auth: bool = False,
    work: Any = None,
    refresh_s: float = 5.0,
) -> Starlette:
    """The dashboard of the store at ``store_url``, which is opened with the first request.

    It answers to the names of this machine and to ``hosts`` ("*": any). As long as nobody is asked
    who they are, only this machine may connect: give a ``token`` (16 characters or more), the
    ``trusted_header`` in which one of ``trusted_proxies`` names the person it let in, or
    say that it is mounted ``behind_own_auth``. ``actions``: the pages may change the store (replay,
    skip, recover, let out, break leases, collect garbage); without it the store is opened to be read
    only. ``work(lease, step)``: what ``store.recover`` does with each lease, such as ``pipeline.work``;
    in a thread, unless it is async. ``refresh_s``: seconds between live updates.

    Raises UsageError for a choice that would leave the door open, MissingDriver without ``belaypin[ui]``.

    >>> app("sqlite:///app.db").routes[0].path
    '/'
    """
    for name in ("starlette", "jinja2"):
        if find_spec(name) is None:
            raise MissingDriver(
                f"The dashboard needs {name}, which is not installed. Run: pip install 'belaypin[ui]'"
            )
    from belaypin.web.access import LOOPBACK_HOSTS, Access
    from belaypin.web.dashboard import Dashboard, starlette_app

    access = Access(
        token=token,
        trusted_header=trusted_header,
        trusted_proxies=tuple(trusted_proxies),
        hosts=(*LOOPBACK_HOSTS, *(host.lower() for host in hosts)),
        behind_own_auth=behind_own_auth,
        actions=actions,
    )
    return starlette_app(Dashboard(store_url, access, work=work, refresh_s=refresh_s))


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own: then nobody else can connect to it.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
