"""Frames: how the runner and its worker processes talk over a socket."""

from __future__ import annotations

import socket
import struct

__all__ = ["STOP_FRAME", "receive", "send"]

STOP_FRAME = b""
"""Tells a worker to stop after the page in hand."""

_LENGTH = struct.Struct(">I")


def send(channel: socket.socket, text: bytes) -> None:
    """Send one frame. Raises OSError if nobody is at the other end."""
    channel.sendall(_LENGTH.pack(len(text)) + text)


def receive(channel: socket.socket) -> bytes | None:
    """The next frame; None once the other end is gone, also in the middle of one."""
    head = _exactly(channel, _LENGTH.size)
    return None if head is None else _exactly(channel, _LENGTH.unpack(head)[0])


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = channel.recv(size - len(parts))
        except OSError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
