"""A worker process of ``processes:N``: reads tasks from its standard input, a socket.

Ctrl-C reaches every process of a terminal: only the runner acts on it, and tells the workers.
SIGTERM to a worker alone stops it after the page in hand. When the runner is gone, so is the worker:
at once if it was told to stop, else after the page in hand, but within a few seconds.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from queue import SimpleQueue

import msgspec

from belaypin.clock import sleep_s
from belaypin.pipeline.frames import STOP_FRAME, receive, send
from belaypin.pipeline.worker import STOP, work_on

__all__ = ["main"]

_ORPHAN_S = 5.0


class Hello(msgspec.Struct):
    """What a worker is told first: where the runner imports from."""

    path: list[str]


def main() -> None:
    """Serve the runner until it closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: STOP.set())
    channel = socket.socket(fileno=os.dup(0))
    _forget_input()
    hello = msgspec.json.decode(receive(channel) or b"", type=Hello)
    sys.path[:] = hello.path
    tasks: SimpleQueue[bytes | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(channel, tasks), daemon=True).start()
    while (task := tasks.get()) is not None:
        try:
            send(channel, work_on(task))
        except OSError:
            return


def _listen(channel: socket.socket, tasks: SimpleQueue[bytes | None]) -> None:
    while (text := receive(channel)) is not None:
        if text == STOP_FRAME:
            STOP.set()
        else:
            tasks.put(text)
    tasks.put(None)
    if not STOP.is_set():
        STOP.set()
        sleep_s(_ORPHAN_S)
    os._exit(1)


def _forget_input() -> None:
    """The user's functions find an empty standard input, not the channel."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


if __name__ == "__main__":
    main()
