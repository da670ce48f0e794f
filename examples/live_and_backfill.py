"""Listen to a chat, and fetch what was missed: nothing is lost or doubled where the two meet.

    python examples/chat_site.py --port 8000 &
    python examples/live_and_backfill.py sqlite:///chat.db

Kill it whenever you like, and start it again. Each room has a live stream over a WebSocket and a
paged history over HTTP. Both write to one stream of one entity: they share its ledger, so that a
message that came both ways is stored once, and its coverage, so that the history is asked only for
the time when nobody listened. The table has no unique key: were a message doubled, it would be seen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import websockets

import belaypin

HTTP = os.environ.get("CHAT_HTTP", "http://127.0.0.1:8000")
LIVE = os.environ.get("CHAT_LIVE", "ws://127.0.0.1:8001")

patient = belaypin.Retry(max_attempts=12, backoff="20ms", max_backoff="2s")
chat = belaypin.Pipeline("chat", store="sqlite:///chat.db", retry=patient)
http = httpx.Client(base_url=HTTP, timeout=5)


@chat.setup
def tables(store: belaypin.Store) -> None:
    store.execute("CREATE TABLE IF NOT EXISTS messages (id BIGINT, room TEXT, text TEXT)")


@chat.entities
def rooms() -> list[str]:
    names: list[str] = http.get("/rooms").raise_for_status().json()
    return names


@chat.source(
    "messages",
    since="1h",
    overlap="5s",  # what a dropped connection had in flight
    at="at",
    items="items",
    cursor="next",
    rate="50/s",
    concurrency=2,
)
def history(room: str, window: belaypin.Window, cursor: str | None) -> Any:
    span = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    return http.get(f"/rooms/{room}", params={**span, "cursor": cursor or ""}).raise_for_status()


@chat.live("messages", settle="1s")
async def arriving(room: str) -> AsyncIterator[list[Any]]:
    async with websockets.connect(f"{LIVE}/rooms/{room}") as socket:
        async for text in socket:
            message = json.loads(text)
            yield [message] if message else []  # nothing is said: it is alive


@chat.items("messages")
def insert(tx: belaypin.Work, messages: list[dict[str, Any]], entity: str) -> None:
    rows = [(message["id"], entity, message["text"]) for message in messages]
    tx.copy("messages", ("id", "room", "text"), rows)


if __name__ == "__main__":
    report = chat.run(sys.argv[1] if sys.argv[1:] else None, live=True, every="2s")
    print(report)
    sys.exit(report.exit_code)
