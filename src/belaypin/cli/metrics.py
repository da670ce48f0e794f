"""``belaypin metrics``: the figures of a store for Prometheus, once or for whoever asks."""

from __future__ import annotations

import signal
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import click

import belaypin
from belaypin.cli.call import Call, on_store

if TYPE_CHECKING:
    from belaypin.metrics import Exporter

__all__ = ["metrics_command"]

_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
_PATIENCE_S = 60


@click.command("metrics")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help="Answer http://HOST:PORT/metrics until stopped, such as 127.0.0.1:9464.",
)
@click.option(
    "--worst",
    type=click.IntRange(min=0, max=1000),
    default=10,
    show_default=True,
    help="So many streams that lag most are named.",
)
@click.option("--openmetrics", is_flag=True, help="In the OpenMetrics format.")
@on_store("read")
def metrics_command(
    call: Call, store: belaypin.Store, listen: str | None, worst: int, *, openmetrics: bool
) -> int:
    """The figures of a store for Prometheus, by pipeline.

    Without --listen they are written once: for the textfile collector of node_exporter, write to a
    file elsewhere and move it. Needs the extra [metrics].
    """
    from belaypin.metrics import Exporter

    if listen is not None:
        return _serve(Exporter(store, worst=worst), *_address(listen))
    exporter = Exporter(store, worst=worst, timeout_s=_PATIENCE_S)
    families = list(exporter.collect())
    if families[0].samples[0].value == 0:
        raise belaypin.StoreUnavailable(
            f"The store could not be read within {_PATIENCE_S} s. Look with belaypin doctor."
        )
    if call.show.form == "text":
        body, _ = exporter.exposition(_OPENMETRICS if openmetrics else "")
        click.echo(body, nl=False)
        return 0
    samples = [sample for family in families for sample in family.samples]
    rows = [{"metric": s.name, "labels": dict(s.labels), "value": s.value} for s in samples]
    call.show.rows(rows, ("metric", "labels", "value"))
    return 0


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise belaypin.UsageError(
            f"--listen {listen!r} is no address: write HOST:PORT, such as 127.0.0.1:9464."
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def _serve(exporter: Exporter, host: str, port: int) -> int:
    """Answer until SIGTERM."""

    class Handler(_Handler):
        figures = exporter

    try:
        server = _server(host)((host, port), Handler)
    except OSError as error:
        raise belaypin.UsageError(
            f"Can't listen on {host}:{port}: {error}. Choose another address with --listen."
        ) from error
    with server:
        # shutdown() waits for the loop, which stands still while a signal is handled.
        stop = threading.Thread(target=server.shutdown, daemon=True)
        signal.signal(signal.SIGTERM, lambda *_: stop.start() if stop.ident is None else None)
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"Listening on http://{shown}:{server.server_address[1]}/metrics", err=True)
        sys.stderr.flush()
        server.serve_forever()
    return 0


def _server(host: str) -> type[socketserver.ThreadingTCPServer]:
    import socket

    class Server(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True

    return Server


class _Handler(BaseHTTPRequestHandler):
    """Answers /metrics, and nothing else."""

    figures: Exporter
    timeout = 10

    def do_GET(self) -> None:  # named so by the standard library
        """A scrape."""
        if self.path.partition("?")[0] not in ("/", "/metrics"):
            self.send_error(404, "The figures are at /metrics")
            return
        body, content_type = self.figures.exposition(self.headers.get("Accept", ""))
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Say nothing: a scrape every 15 s is no news."""
