"""Kafka: the real client against the broker that librdkafka brings for tests, which speaks Kafka."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest

import belaypin
from belaypin.integrations.kafka import KafkaReader, MessagesLost
from tests.integrations.clicks import TABLE, config, insert_of, row_of
from tests.pages import ROOT

PARTITIONS = 4
IDLE_S = 1.5
PATIENCE_S = 90.0


class Broker:
    """A cluster inside the producer's process, which other processes can reach."""

    def __init__(self) -> None:
        self._producer = confluent_kafka.Producer({"test.mock.num.brokers": 1, "log_level": 3})
        (broker,) = self._producer.list_topics(timeout=30).brokers.values()
        self.address = f"{broker.host}:{broker.port}"
        self.sent = 0

    def send(self, count: int, *, topic: str = "clicks") -> None:
        """Messages numbered on, to all partitions in turn."""
        for _ in range(count):
            value = json.dumps({"n": self.sent})
            self._producer.produce(topic, value, partition=self.sent % PARTITIONS)
            self.sent += 1
        assert self._producer.flush(30) == 0


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def store(url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(url) as store:
        store.execute(TABLE)
        yield store


@pytest.fixture
def plain(sqlite_url: str) -> Iterator[belaypin.Store]:
    with belaypin.open(sqlite_url) as store:
        store.execute(TABLE)
        yield store


def reader_of(store: belaypin.Store, broker: Broker, **options: Any) -> KafkaReader:
    return KafkaReader(store, config(broker.address), "clicks", pipeline="web", **options)


def drain(
    store: belaypin.Store,
    broker: Broker,
    expected: int,
    url: str = "sqlite:",
    *,
    partitions: int = PARTITIONS,
    **options: Any,
) -> None:
    """Read all there is. Kafka takes its time to give us the partitions: so wait for these."""
    count, deadline = 0, time.monotonic() + PATIENCE_S
    with reader_of(store, broker, **options) as reader:
        while count < expected or len(reader.partitions) < partitions:
            assert time.monotonic() < deadline, (count, reader.partitions)
            for page in reader.pages(idle_s=IDLE_S):
                with page.commit() as tx:
                    tx.executemany(insert_of(url), map(row_of, page.items))
                count += len(page.items)
    assert count == expected


def numbers(store: belaypin.Store) -> list[int]:
    return [row[0] for row in store.execute("SELECT value FROM clicks ORDER BY value")]


def test_offsets_are_committed_with_the_rows(
    store: belaypin.Store, broker: Broker, url: str
) -> None:
    broker.send(50)
    drain(store, broker, 50, url, max_messages=9)
    broker.send(10)
    drain(store, broker, 10, url)
    assert numbers(store) == list(range(60))
    rows = {(row[0], row[1]) for row in store.execute("SELECT place, msg_offset FROM clicks")}
    assert rows == {(str(p), n) for p in range(PARTITIONS) for n in range(15)}
    assert store.coverage(("web", "clicks:0", "messages")) == []
    assert [lease.state for lease in store.leases(pipeline="web")] == []


def test_what_fails_is_undone_and_read_again(plain: belaypin.Store, broker: Broker) -> None:
    broker.send(20)

    def fail() -> None:
        with reader_of(plain, broker, max_messages=3) as reader:
            for n, page in enumerate(reader.pages(idle_s=PATIENCE_S)):
                with page.commit() as tx:
                    tx.executemany(insert_of("sqlite:"), map(row_of, page.items))
                    assert n < 2, "the third page"

    with pytest.raises(AssertionError, match="the third page"):
        fail()
    done = len(numbers(plain))
    assert 0 < done < 20
    drain(plain, broker, 20 - done)
    assert numbers(plain) == list(range(20))


def test_a_page_that_is_not_committed_is_not_passed_over(
    plain: belaypin.Store, broker: Broker
) -> None:
    broker.send(8)
    with reader_of(plain, broker, max_messages=1) as reader:
        pages = reader.pages(idle_s=PATIENCE_S)
        with pytest.raises(belaypin.NotCommitted):
            [next(pages) for _ in range(8)]
    drain(plain, broker, 8)


def test_a_loop_may_be_left_and_begun_again(plain: belaypin.Store, broker: Broker) -> None:
    """What Kafka had sent for other partitions by then is not stepped over."""
    broker.send(40)
    with reader_of(plain, broker) as reader:
        while len(numbers(plain)) < 40:
            page = next(reader.pages(idle_s=PATIENCE_S))
            with page.commit() as tx:
                tx.executemany(insert_of("sqlite:"), map(row_of, page.items))
    assert numbers(plain) == list(range(40))


def test_a_partition_is_read_by_one(plain: belaypin.Store, broker: Broker) -> None:
    """Whoever still holds its lease is waited for, while the others are read."""
    broker.send(8)
    with plain.lease("web", "clicks:2"):
        drain(plain, broker, 6, partitions=PARTITIONS - 1)
    drain(plain, broker, 2)
    assert numbers(plain) == list(range(8))


def test_a_reader_that_lost_its_lease_writes_nothing(plain: belaypin.Store, broker: Broker) -> None:
    broker.send(4)
    with reader_of(plain, broker) as reader:
        page = next(reader.pages(idle_s=PATIENCE_S))
        for place, partition in reader.partitions:
            plain.break_lease(("web", f"{place}:{partition}"), reason="test")
        commit = page.commit()
        with pytest.raises(belaypin.Fenced):
            commit.__enter__().execute(insert_of("sqlite:"), ("0", 0, 0))
    assert numbers(plain) == []
    drain(plain, broker, 4)


def test_messages_that_are_gone_are_told(plain: belaypin.Store, broker: Broker) -> None:
    broker.send(40)
    drain(plain, broker, 40)
    another = Broker()  # the topic was made anew: its offsets begin again
    another.send(8)
    with pytest.raises(MessagesLost, match=r"gone .* stands at 10"):
        drain(plain, another, 8)
    assert len(numbers(plain)) == 40
    drain(plain, another, 8, skip_lost=True)
    drain(plain, another, 0)


def test_items_can_be_known_by_id_and_put_aside(plain: belaypin.Store, broker: Broker) -> None:
    broker.send(8)
    broker.sent = 0
    broker.send(8)  # the producer sends them again, as other messages
    options: dict[str, Any] = {
        "decode": lambda message: json.loads(message.value()),
        "retry": belaypin.Retry(max_attempts=2, backoff="0s"),
    }
    tried: list[int] = []

    def read(reader: KafkaReader) -> Iterator[int]:
        for page in reader.pages(idle_s=PATIENCE_S):
            with page.commit() as tx:
                for item in tx.fresh(page.items, key="n"):
                    with tx.attempt(item):
                        tried.append(item["n"])
                        assert item["n"] != 5
                        tx.execute(insert_of("sqlite:"), ("", 0, item["n"]))
            yield len(page.items)

    for expected in (16, 1):  # then the item that failed, from the store
        with reader_of(plain, broker, **options) as reader:
            counts = read(reader)
            while expected > 0:
                expected -= next(counts)
    assert numbers(plain) == [0, 1, 2, 3, 4, 6, 7]
    assert sorted(tried) == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    (failure,) = plain.failures("web")
    assert (failure.item_id, failure.status) == (5, "quarantined")


def test_killed_again_and_again_each_message_counts_once(
    store: belaypin.Store, broker: Broker, url: str
) -> None:
    chance = random.Random(3)
    arguments = [sys.executable, "-m", "tests.integrations.clicks", broker.address, url]
    deadline = time.monotonic() + 2 * PATIENCE_S
    for _ in range(3):
        broker.send(200)
        before = len(numbers(store))
        worker = subprocess.Popen(arguments, cwd=ROOT)
        while len(numbers(store)) == before:
            assert time.monotonic() < deadline, "the worker reads nothing"
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.1))
        worker.kill()
        worker.wait()
    drain(store, broker, 600 - len(numbers(store)), url)
    assert numbers(store) == list(range(600))


def test_cooperative_rebalancing_is_refused(plain: belaypin.Store) -> None:
    strategy = {"partition.assignment.strategy": "cooperative-sticky"}
    with pytest.raises(belaypin.UsageError, match="range"):
        KafkaReader(plain, {**config("x"), **strategy}, "clicks", pipeline="web")
    with pytest.raises(belaypin.UsageError, match="with KafkaReader"):
        next(KafkaReader(plain, config("x"), "clicks", pipeline="web").pages())
