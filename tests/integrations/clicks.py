"""A worker for a topic: ``python -m tests.integrations.clicks BROKERS URL``; it runs until killed."""

from __future__ import annotations

import json
import sys
from typing import Any

import belaypin
from belaypin.integrations.kafka import KafkaReader

TABLE = "CREATE TABLE clicks (place TEXT, msg_offset BIGINT, value INTEGER)"


def config(brokers: str, group: str = "workers") -> dict[str, Any]:
    return {
        "bootstrap.servers": brokers,
        "group.id": group,
        "session.timeout.ms": 3000,  # so soon are the partitions of a killed one given to others
        "heartbeat.interval.ms": 300,
    }


def insert_of(url: str) -> str:
    mark = "%s" if url.startswith("postgresql:") else "?"
    return f"INSERT INTO clicks VALUES ({mark}, {mark}, {mark})"


def row_of(message: Any) -> tuple[str, int, int]:
    return (str(message.partition()), message.offset(), json.loads(message.value())["n"])


def main(brokers: str, url: str) -> None:
    with (
        belaypin.open(url) as store,
        KafkaReader(store, config(brokers), "clicks", pipeline="web", max_messages=7) as reader,
    ):
        for page in reader.pages(poll_s=0.1):
            with page.commit() as tx:
                tx.executemany(insert_of(url), map(row_of, page.items))


if __name__ == "__main__":
    main(*sys.argv[1:])
