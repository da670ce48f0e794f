"""A worker that delivers messages: python messenger.py URL FILE WHERE

Its handler appends each message's key to FILE. Where it is told to, it dies by SIGKILL at the
message "m3" of its run: "before" the effect or "after" it, that is, before it can mark it.
"""

from __future__ import annotations

import os
import signal
import sys

import belaypin

TTL_S = 0.5
ATTEMPTS = 2
COUNT = 6


def main(url: str, file: str, where: str) -> None:
    sink = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def handler(message: belaypin.Message) -> None:
        if where == "before" and message.key == "m3":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(sink, f"{message.key}\n".encode())
        if where == "after" and message.key == "m3":
            os.kill(os.getpid(), signal.SIGKILL)

    with belaypin.open(url) as store:
        store.deliver("mail", handler, ttl_s=TTL_S, retry=belaypin.Retry(max_attempts=ATTEMPTS))


if __name__ == "__main__":
    main(*sys.argv[1:])
