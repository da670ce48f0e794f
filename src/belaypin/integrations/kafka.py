"""Kafka: a topic's messages as pages, their offsets committed with your rows.

The offsets lie in the store, in the transaction of the rows that were made of the messages, so a
message takes effect there exactly once. Kafka only says who reads which partition; a lease for each
partition makes sure of it. Needs confluent-kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple, Self

from belaypin import (
    BelaypinError,
    Lease,
    LeaseHeld,
    MissingDriver,
    Page,
    Retry,
    Store,
    UsageError,
    Window,
)
from belaypin.clock import monotonic_s

try:
    import confluent_kafka as kafka
except ImportError as error:
    raise MissingDriver(
        "belaypin.integrations.kafka needs confluent-kafka, which is not installed. Run: pip install "
        "confluent-kafka"
    ) from error

__all__ = ["KafkaReader", "MessagesLost"]

STREAM = "messages"

_METADATA_S = 30.0
# Where to begin is the store's to say: an offset that is not there must be told, not reset.
_FORCED = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
}


class MessagesLost(BelaypinError):
    """Call an operator: Kafka no longer has messages that were never read. Nothing was skipped."""


class KafkaReader(AbstractContextManager["KafkaReader"]):
    """Reads topics page by page, as a member of ``group.id`` in ``config``.

    ``config`` is that of ``confluent_kafka.Consumer``; whatever it says of committing offsets is
    overruled. A partition is the entity ``topic:partition`` of ``pipeline``, its messages are the
    stream "messages". A partition never read before begins at its first message. Where another
    reader still holds the lease of a partition, it is read as soon as that is over.

    ``decode`` makes an item of a ``confluent_kafka.Message`` (default: the message itself). Items
    that are JSON data can be put aside one by one: ``retry`` is as in ``lease.windows``, as is
    ``processor``; take them through ``tx.fresh`` then, as one that kills its worker is found by
    handing out the items of a page again, one by one. ``max_messages`` are read at a time;
    ``ttl_s`` is the lifetime of the leases. ``skip_lost``: go on at the first message that there
    is, where Kafka has dropped some that were never read, instead of raising MessagesLost.

    >>> def count(store, config):
    ...     with KafkaReader(store, config, "clicks", pipeline="web") as reader:
    ...         for page in reader.pages():
    ...             with page.commit() as tx:
    ...                 tx.execute("UPDATE counts SET n = n + ?", (len(page.items),))
    """

    def __init__(
        self,
        store: Store,
        config: Mapping[str, Any],
        topics: str | Sequence[str],
        *,
        pipeline: str,
        decode: Callable[[Any], Any] = lambda message: message,
        max_messages: int = 500,
        ttl_s: float = 30,
        retry: Retry | None = None,
        processor: int = 0,
        skip_lost: bool = False,
    ) -> None:
        if "cooperative" in str(config.get("partition.assignment.strategy", "")):
            raise UsageError(
                "KafkaReader does not take part in cooperative rebalancing. Leave "
                "partition.assignment.strategy out, or set it to 'range' or 'roundrobin'."
            )
        self._store = store
        self._config = {**config, **_FORCED}
        self._topics = [topics] if isinstance(topics, str) else list(topics)
        self._pipeline = pipeline
        self._decode = decode
        self._max_messages = max_messages
        self._ttl_s = ttl_s
        self._options = {"retry": retry, "processor": processor}
        self._skip_lost = skip_lost
        self._consumer: Any = None
        self._wanted: set[tuple[str, int]] = set()
        self._held: dict[tuple[str, int], _Partition] = {}

    def __enter__(self) -> Self:
        self._consumer = kafka.Consumer(self._config)
        self._consumer.subscribe(self._topics, on_assign=self._assign, on_revoke=self._revoke)
        return self

    def __exit__(self, *error: object) -> None:
        consumer, self._consumer = self._consumer, None
        try:
            self._let_go(list(self._held))
        finally:
            consumer.close()

    @property
    def partitions(self) -> list[tuple[str, int]]:
        """The topics and partitions that this reader holds now."""
        return sorted(self._held)

    def pages(self, *, idle_s: float | None = None, poll_s: float = 0.5) -> Iterator[Page]:
        """Page after page, each the messages of one partition; commit each before the next.

        It goes on for ever, or until nothing has come for ``idle_s`` seconds. Raises NotCommitted
        if a page was not committed, MessagesLost (see ``skip_lost``), and KafkaException for errors
        of Kafka that don't pass by themselves.
        """
        if self._consumer is None:
            raise UsageError("The reader is not open: use `with KafkaReader(...) as reader`.")
        last_s = monotonic_s()
        # What an earlier call had received and never handed out is to be sent again.
        must_seek = True
        while idle_s is None or monotonic_s() - last_s < idle_s:
            if self._take_free() or (must_seek and self._held):
                for held in list(self._held.values()):
                    yield from held.retried()
                self._seek()
                must_seek = False
                last_s = monotonic_s()
            for place, messages in self._poll(poll_s).items():
                if place in self._held:
                    yield from self._held[place].pages(messages, self._decode)
                    last_s = monotonic_s()

    def _poll(self, poll_s: float) -> dict[tuple[str, int], list[Any]]:
        found: dict[tuple[str, int], list[Any]] = {}
        for message in self._consumer.consume(self._max_messages, poll_s):
            error = message.error()
            if error is None:
                found.setdefault((message.topic(), message.partition()), []).append(message)
            elif error.code() == kafka.KafkaError._AUTO_OFFSET_RESET:
                raise _lost(message.topic(), message.partition(), str(error))
            elif error.code() != kafka.KafkaError._PARTITION_EOF:
                raise kafka.KafkaException(error)
        return found

    def _assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        self._wanted = {(each.topic, each.partition) for each in partitions}
        consumer.assign([])  # nothing is read before its lease is held

    def _revoke(self, consumer: Any, partitions: Sequence[Any]) -> None:
        self._let_go([(each.topic, each.partition) for each in partitions])
        self._wanted -= {(each.topic, each.partition) for each in partitions}

    def _let_go(self, places: Sequence[tuple[str, int]]) -> None:
        with ExitStack() as stack:
            for place in places:
                if place in self._held:
                    stack.callback(self._held.pop(place).close)

    def _take_free(self) -> bool:
        """Take the leases that are wanted and free; whether there were any."""
        before = len(self._held)
        for place in sorted(self._wanted - self._held.keys()):
            lease = self._store.lease(self._pipeline, f"{place[0]}:{place[1]}", ttl_s=self._ttl_s)
            try:
                lease.acquire()
            except LeaseHeld:
                continue  # its holder has not heard yet that it is to let go; asked again soon
            self._held[place] = _Partition(lease, self._options)
        return len(self._held) > before

    def _seek(self) -> None:
        """Have Kafka send the messages of all that is held, from where the store stands."""
        places = [(*place, self._offset(*place, held)) for place, held in self._held.items()]
        self._consumer.assign([kafka.TopicPartition(*place) for place in places])

    def _offset(self, topic: str, partition: int, held: _Partition) -> int:
        place = kafka.TopicPartition(topic, partition)
        low, high = self._consumer.get_watermark_offsets(place, timeout=_METADATA_S)
        stored = held.begin()
        if stored is None or low <= stored <= high:
            return int(low if stored is None else stored)
        if self._skip_lost:
            return int(low)
        raise _lost(topic, partition, f"it has {low} to {high}, and the store stands at {stored}")


class _Partition:
    """A partition that we hold the lease of: one window that never ends, its cursor an offset."""

    def __init__(self, lease: Lease, options: Mapping[str, Any]) -> None:
        self._lease = lease
        self._windows = lease.windows(STREAM, since="beginning", **options)
        self._batch = _Batch([], None)
        self._pages: Iterator[Page] = iter(())
        self._window: Window | None = None

    def retried(self) -> Iterator[Page]:
        """The pages of items that had failed and whose time has come; first of all, and once."""
        while self._window is None:
            window = next(self._windows)
            if window.is_retry:
                yield from window.pages(self._fetch)
            else:
                self._window = window

    def begin(self) -> int | None:
        """The offset to go on from; None at the first message. Whatever was in hand is let go."""
        assert self._window is not None
        self._pages = self._window.pages(self._fetch)
        offset: int | None = self._window.cursor
        return offset

    def pages(self, messages: Sequence[Any], decode: Callable[[Any], Any]) -> Iterator[Page]:
        """The page of these messages; several, where one of them may have killed its worker."""
        following = messages[-1].offset() + 1
        self._batch = _Batch([decode(message) for message in messages], following)
        assert self._window is not None
        while self._window.cursor != following:
            page = next(self._pages)
            if page.items:
                yield page
            else:  # what is left when its items were handed out one by one
                with page.commit():
                    pass

    def close(self) -> None:
        """Let somebody else have it, at the last commit."""
        self._lease.release()

    def _fetch(self, cursor: Any) -> tuple[list[Any], Any]:
        return self._batch


class _Batch(NamedTuple):
    items: list[Any]
    next_cursor: int | None


def _lost(topic: str, partition: int, why: str) -> MessagesLost:
    return MessagesLost(
        f"Messages of partition {partition} of topic {topic!r} are gone that were never read ({why}). "
        f"Bring them back, or go on without them: KafkaReader(..., skip_lost=True)."
    )
