"""A chat site that gives trouble: the source that live_and_backfill.py reads.

    python examples/chat_site.py --port 8000 --messages 5000

    GET /rooms                          the names of the rooms
    GET /rooms/NAME?start=&end=&cursor= a page of its messages: {"items": [...], "next": ...}
    GET /state                          {"posted": ..., "is_over": ..., "dropped": ...}
    ws  /rooms/NAME on port + 1         each message when it is posted, and ticks in between

With `--trouble 0.2` a fifth of the answers are 429 (with Retry-After), 500, slow, or cut off in the
middle, and sockets are dropped without a word, now and then in the middle of a message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from bisect import bisect_left
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Message = dict[str, Any]

PAGE = 50
TICK_S = 0.2
SLOW_S = 0.3


class Site:
    """The rooms, what was posted in them, and who listens."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.chance = random.Random(options.seed)
        self.rooms: dict[str, list[Message]] = {f"room-{n}": [] for n in range(options.rooms)}
        self.listeners: dict[str, set[asyncio.Queue[Message]]] = {n: set() for n in self.rooms}
        self.posted = self.dropped = 0

    @property
    def is_over(self) -> bool:
        is_enough = self.posted >= self.options.messages
        return bool(is_enough and self.dropped >= self.options.until_drops)

    async def post_all(self) -> None:
        """Post one message after the other; those who listen get it at once."""
        while not self.is_over:
            await asyncio.sleep(self.chance.expovariate(self.options.rate))
            room = self.chance.choice(sorted(self.rooms))
            now = datetime.now(UTC).isoformat()
            message = {"id": self.posted, "room": room, "at": now, "text": "hello " * 5}
            self.rooms[room].append(message)
            self.posted += 1
            for queue in self.listeners[room]:
                queue.put_nowait(message)

    async def talk(self, socket: ServerConnection) -> None:
        """Send what is posted in a room to one listener, until the connection is dropped."""
        assert socket.request is not None
        room = socket.request.path.removeprefix("/rooms/")
        queue: asyncio.Queue[Message] = asyncio.Queue()
        self.listeners[room].add(queue)
        try:
            await socket.send("{}")
            while not self._drops(socket):
                try:
                    message = await asyncio.wait_for(queue.get(), TICK_S)
                except TimeoutError:
                    message = {}
                await socket.send(json.dumps(message))
        except ConnectionClosed:
            pass
        finally:
            self.listeners[room].discard(queue)

    def _drops(self, socket: ServerConnection) -> bool:
        if self.is_over or self.chance.random() >= self.options.drops:
            return False
        self.dropped += 1
        if self.chance.random() < 0.3:  # a frame of 100 bytes, of which few come
            socket.transport.write(b"\x81\x64{")
        socket.transport.abort()
        return True

    def page(self, room: str, query: dict[str, str]) -> Message:
        """Messages of [start, end), by time; the cursor is a place in the list."""
        messages = self.rooms[room]
        first = bisect_left(messages, query["start"], key=lambda each: str(each["at"]))
        at = int(query.get("cursor") or first)
        found = [each for each in messages[at : at + PAGE] if each["at"] < query["end"]]
        return {"items": found, "next": str(at + PAGE) if len(found) == PAGE else None}


class Answers(BaseHTTPRequestHandler):
    """The paged API over HTTP."""

    site: Site

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        _, _, room = address.path.partition("/rooms/")
        with suppress(ConnectionError):  # who asked was killed
            self._answer(address.path, room, query)

    def _answer(self, path: str, room: str, query: dict[str, str]) -> None:
        if path == "/state":
            site = self.site
            self._send({"posted": site.posted, "is_over": site.is_over, "dropped": site.dropped})
        elif path == "/rooms":
            self._send(sorted(self.site.rooms))
        elif room in self.site.rooms:
            self._with_trouble(self.site.page(room, query))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _with_trouble(self, answer: Message) -> None:
        chance = self.site.chance
        if chance.random() >= self.site.options.trouble:
            self._send(answer)
            return
        trouble = chance.choice(["429", "500", "500", "slow", "slow", "cut", "cut"])
        if trouble == "429":
            self.send_response(HTTPStatus.TOO_MANY_REQUESTS)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif trouble == "500":
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            time.sleep(SLOW_S if trouble == "slow" else 0)
            self._send(answer, cut=trouble == "cut")

    def _send(self, answer: Any, *, cut: bool = False) -> None:
        body = json.dumps(answer).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


async def main() -> None:
    options = arguments()
    site = Site(options)
    Answers.site = site
    http = ThreadingHTTPServer(("127.0.0.1", options.port), Answers)
    Thread(target=http.serve_forever, daemon=True).start()
    port = http.server_address[1]
    async with serve(site.talk, "127.0.0.1", options.port and options.port + 1) as sockets:
        live = next(iter(sockets.sockets)).getsockname()[1]
        print(json.dumps({"http": f"http://127.0.0.1:{port}", "live": f"ws://127.0.0.1:{live}"}))
        sys.stdout.flush()
        await site.post_all()
        await asyncio.Event().wait()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--port", type=int, default=0, help="of the API; the sockets are on the next (0: any two)")
    add("--rooms", type=int, default=3, metavar="N", help="%(default)s")
    add("--messages", type=int, default=2_000, metavar="N", help="in all (%(default)s)")
    add("--rate", type=float, default=100, metavar="N", help="messages a second (%(default)s)")
    add("--trouble", type=float, default=0.2, metavar="P", help="of an answer (%(default)s)")
    add("--drops", type=float, default=0.02, metavar="P", help="after a message (%(default)s)")
    add("--until-drops", type=int, default=0, metavar="N", help="go on until there were so many")
    add("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
