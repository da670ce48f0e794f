"""A proxy before PostgreSQL that knows its protocol, and cuts the connection around a COMMIT."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from psycopg.conninfo import conninfo_to_dict

__all__ = ["Cut", "Proxy", "through_a_proxy"]

Cut = Literal["before", "after", "during"]
"""Before the server hears of the COMMIT; after it has answered, which nobody hears; or right after
it was passed on, so that it takes place or not."""

_SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Passes everything on but the COMMIT number ``cut_at`` (from 1), around which it cuts."""

    def __init__(self, folder: str, server: str) -> None:
        self.folder = folder
        self.commits = 0
        self.cuts = 0
        self.refuses = False
        """Whether new connections are closed at once."""
        self._server = server
        self._cut: tuple[Cut, int] | None = None
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{folder}/{_SOCKET}")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, cut: Cut, number: int) -> None:
        """Cut around the COMMIT so many from now on."""
        with self._lock:
            self.commits, self.cuts, self._cut = 0, 0, (cut, number)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            link = _Link(self, client, server)
            threading.Thread(target=link.pass_questions, daemon=True).start()
            threading.Thread(target=link.pass_answers, daemon=True).start()

    def _due(self) -> Cut | None:
        """Count a COMMIT; say how to cut it."""
        with self._lock:
            self.commits += 1
            if self._cut is None or self._cut[1] != self.commits:
                return None
            self.cuts += 1
            return self._cut[0]


class _Link:
    """One connection: messages are a letter, a length that counts itself, and a body."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cuts_answer = False
        self._prepared: set[bytes] = set()

    def pass_questions(self) -> None:
        with self._until_the_end():
            is_first = True  # the start-up message has no letter
            while message := _message(self._client, has_letter=not is_first):
                is_first = False
                if self._is_commit(message):
                    cut = self._proxy._due()
                    if cut == "before":
                        return
                    if cut == "during":
                        self._server.sendall(message)
                        return
                    self._cuts_answer |= cut == "after"
                self._server.sendall(message)

    def _is_commit(self, message: bytes) -> bool:
        """Whether this runs a COMMIT: as text, or one that was prepared (the driver does, in time)."""
        kind, body = message[:1], message[5:].split(b"\0")
        if kind == b"P" and body[0] and body[1] == b"COMMIT":
            self._prepared.add(body[0])
            return False
        return (
            (kind == b"Q" and body[0] == b"COMMIT")
            or (kind == b"P" and body[1] == b"COMMIT")
            or (kind == b"B" and body[1] in self._prepared)
        )

    def pass_answers(self) -> None:
        with self._until_the_end():
            while message := _message(self._server, has_letter=True):
                if self._cuts_answer and message[:1] == b"C" and message[5:12] == b"COMMIT\0":
                    return
                self._client.sendall(message)

    @contextmanager
    def _until_the_end(self) -> Iterator[None]:
        try:
            with contextlib.suppress(OSError):
                yield
        finally:
            for end in (self._client, self._server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def _message(source: socket.socket, *, has_letter: bool) -> bytes:
    """The next message, whole; empty at the end of the connection."""
    head = _exactly(source, 5 if has_letter else 4)
    if not head:
        return b""
    return head + _exactly(source, int.from_bytes(head[-4:], "big") - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size:
        more = source.recv(size - len(got))
        if not more:
            return b""
        got += more
    return got


@contextmanager
def through_a_proxy(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server of ``url``, and the URL that goes through it."""
    parts = urlsplit(url)
    known = conninfo_to_dict(url)
    folder = parse_qs(parts.query)["host"][0]
    server = str(Path(folder) / f".s.PGSQL.{known.get('port', 5432)}")
    with tempfile.TemporaryDirectory(prefix="belaypin-") as own:
        proxy = Proxy(own, server)
        try:
            yield proxy, parts._replace(query=f"host={own}").geturl()
        finally:
            proxy.close()
