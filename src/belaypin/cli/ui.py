"""``belaypin ui``: the dashboard of a store, in a browser."""

from __future__ import annotations

import signal
import socket
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

import belaypin
from belaypin.cli.call import Call, shows
from belaypin.clock import unique_id
from belaypin.compat import environment

__all__ = ["ui_command"]

_TOKEN = "BELAYPIN_UI_TOKEN"  # noqa: S105 - the name of a variable


@click.command("ui")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8086,
    show_default=True,
    help="0: any that is free.",
)
@click.option("--actions", is_flag=True, help="Let the pages change the store.")
@click.option(
    "--pipeline",
    metavar="MODULE:ATTR",
    help="With --actions: recovery does the work of this pipeline, too.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help=f"The token that visitors need stands in this file. Default: {_TOKEN}, if it is set.",
)
@click.option("--new-token", is_flag=True, help="Make a token, and print it.")
@click.option(
    "--trusted-header", metavar="NAME", help="The header in which your proxy names the visitor."
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Where that proxy connects from. Default: this machine.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name under which visitors reach it, beside those of this machine.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open it in your browser.")
@shows
def ui_command(
    call: Call, *, host: str, port: int, pipeline: str | None, is_opened: bool, **options: Any
) -> int:
    """The dashboard of a store, in a browser. Needs the extra [ui].

    It only reads, unless it is given --actions, and only this machine may connect. It listens at another
    address only if it asks visitors who they are: --token-file, --new-token or --trusted-header.
    """
    url = call.settings.url()
    app = _app(call, url, host, pipeline, **options)
    _look(call, url)
    return _serve(call, app, host, port, is_opened=is_opened)


def _app(
    call: Call,
    url: str,
    host: str,
    pipeline: str | None,
    *,
    actions: bool,
    token_file: Path | None,
    new_token: bool,
    trusted_header: str | None,
    trusted_proxies: tuple[str, ...],
    hosts: tuple[str, ...],
) -> Any:
    from belaypin import web

    if find_spec("uvicorn") is None:
        raise belaypin.MissingDriver(
            "The dashboard needs uvicorn, which is not installed. Run: pip install 'belaypin[ui]'"
        )
    token = _token(call, token_file, new=new_token)
    if not (web.is_loopback(host) or token or trusted_header):
        raise belaypin.UsageError(
            f"Whoever reaches {host} could read the store: say --new-token, --token-file or "
            f"--trusted-header, or leave out --host."
        )
    work = None
    if pipeline is not None:
        from belaypin.pipeline import load

        if not actions:
            raise belaypin.UsageError("--pipeline is for recovery, which needs --actions.")
        work = load(pipeline).work
    names = () if web.is_loopback(host) or host in ("0.0.0.0", "::") else (host,)  # noqa: S104
    return web.app(
        url,
        actions=actions,
        token=token,
        trusted_header=trusted_header,
        trusted_proxies=trusted_proxies or ("127.0.0.1", "::1"),
        hosts=(*hosts, *names),
        work=work,
    )


def _token(call: Call, file: Path | None, *, new: bool) -> str | None:
    if new:
        token = unique_id()
        call.show.note(f"Token: {token}")
        return token
    if file is None:
        return environment(_TOKEN)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise belaypin.UsageError(f"--token-file: {file} can't be read: {error}.") from error


def _look(call: Call, url: str) -> None:
    """A store that can't be reached now is shown when it can; one that is none is said at once."""
    try:
        belaypin.open(url, create=False, read_only=True).close()
    except belaypin.StoreUnavailable as error:
        call.show.note(call.hidden(f"{error} The pages go on as soon as it can be reached."))


def _serve(call: Call, app: Any, host: str, port: int, *, is_opened: bool) -> int:
    """Serve until Ctrl-C or SIGTERM."""
    from belaypin.web.server import Server

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(app, host, port)
    try:
        listening = server.config.bind_socket()
        # Connections inherit it. Without it the rest of a page waits some 40 ms for the reader's
        # acknowledgement: asyncio sets it itself, but not on a socket of uvicorn's.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.listen()  # who comes as soon as the address is printed waits, and is not refused
    except SystemExit as error:  # it has logged why
        raise belaypin.UsageError(
            f"Nothing can listen at {host}:{port}; see above. Choose another --port, or 0 for any."
        ) from error
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}/"
    call.show.record({"url": address}, f"The dashboard: {address}")
    sys.stdout.flush()
    if is_opened:
        webbrowser.open(address)
    server.run(sockets=[listening])
    return 0
