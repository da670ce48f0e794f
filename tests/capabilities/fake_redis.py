"""A Redis that misbehaves on command: it speaks just enough of the protocol for a cache."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, Literal

__all__ = ["MOODS", "FakeRedis", "Mood"]

Mood = Literal[
    "well", "slow", "hanging", "dripping", "full", "loading", "yes", "another", "swapped", "short",
    "noise", "huge", "endless", "leaving",
]  # fmt: skip
MOODS: tuple[Mood, ...] = Mood.__args__  # type: ignore[attr-defined]

SLOW_S = 0.03
_WAIT_S = 5.0


class FakeRedis:
    """Listens on a port of its own; ``mood`` may change at any time."""

    def __init__(self) -> None:
        self.mood: Mood = "well"
        self.facts: dict[bytes, bytes] = {}
        self.heard = 0
        """Commands that came, answered or not."""
        self.gets = 0
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._is_closed = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        self._is_closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()
        for connection in list(self._sockets):
            connection.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                for command in _commands(stream):
                    self._answer(connection, command)
        except (OSError, ValueError):
            pass  # the other side went away, or this side was told to
        finally:
            self._sockets.discard(connection)

    def _answer(self, connection: socket.socket, command: list[bytes]) -> None:
        name = command[0].upper()
        self.heard += 1
        if self.mood == "leaving":
            raise OSError
        if self.mood == "hanging":
            self._is_closed.wait(_WAIT_S)
            raise OSError
        if self.mood == "slow":
            time.sleep(SLOW_S)
        if name == b"MGET":
            self.gets += 1
            self._get(connection, command[1:])
        elif name == b"SET":
            if self.mood == "full":
                connection.sendall(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n")
                return
            self.facts[command[1]] = command[2]
            connection.sendall(b"+OK\r\n")
        else:
            connection.sendall(b"+PONG\r\n" if name == b"PING" else b"+OK\r\n")

    def _get(self, connection: socket.socket, names: list[bytes]) -> None:
        whole = b"".join([b"*%d\r\n" % len(names), *map(_bulk, self._values(names))])
        if self.mood == "loading":
            connection.sendall(b"-LOADING Redis is loading the dataset in memory\r\n")
        elif self.mood == "noise":
            connection.sendall(b"\xff\x00HTTP/1.1 200 OK\r\n\r\n$-7\r\n*x\r\n")
        elif self.mood == "huge":
            connection.sendall(b"*1000000000\r\n$1000000000\r\n" + bytes(1_000))
        elif self.mood == "endless":
            connection.sendall(b"*1000000000\r\n")
            self._flood(connection, b"$1\r\nx\r\n" * 10_000, 0)
        elif self.mood == "dripping":
            self._flood(connection, b"*1000000000\r\n" + b"$-1\r\n" * 1_000, 0.01)
        else:
            connection.sendall(whole)

    def _flood(self, connection: socket.socket, data: bytes, pause_s: float) -> None:
        patience = time.monotonic() + _WAIT_S
        while time.monotonic() < patience and not self._is_closed.is_set():
            for part in [data] if not pause_s else [data[i : i + 1] for i in range(len(data))]:
                connection.sendall(part)
                if pause_s and self._is_closed.wait(pause_s):
                    return

    def _values(self, names: list[bytes]) -> list[bytes | None]:
        known = list(self.facts.values())
        honest = [self.facts.get(name) for name in names]
        if self.mood == "yes":
            return [b"\x00" * 40 for _ in names]
        if self.mood == "another" and known:
            return [known[-1] for _ in names]
        if self.mood == "swapped":
            return honest[::-1]
        return honest[:-1] if self.mood == "short" else honest


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def _commands(stream: BinaryIO) -> Iterator[list[bytes]]:
    while line := stream.readline():
        parts = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            parts.append(stream.read(size + 2)[:-2])
        yield parts
