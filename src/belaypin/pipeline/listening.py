"""Listening: live events of many entities, and the backfill of what was missed meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import belaypin
from belaypin.clock import jitter, monotonic_s
from belaypin.pipeline import awaiting
from belaypin.pipeline.feed import Feed
from belaypin.pipeline.pace import Pace
from belaypin.pipeline.parts import Limits, Listener
from belaypin.pipeline.running import Run
from belaypin.pipeline.stopping import Stop, Stopped
from belaypin.pipeline.visit import Visitor

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Listening"]

ROLE = "live"
_MOST = 1_000
_LOOK_S = 0.1


class Listening:
    """A live run: it listens, in a thread for each entity and stream, and backfills in rounds.

    A round visits all entities; between two rounds, those are visited that have a new connection,
    as what happened before it is a gap.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: belaypin.Store,
        run: Run,
        stop: Stop,
        listed: Callable[[], Iterable[Any]],
        size: int,
    ) -> None:
        self.pipeline = pipeline
        self.store = store
        self.run = run
        self.stop = stop
        self._listed = listed
        self._size = size
        self._names: list[str] | None = None
        self._ears: dict[tuple[str, str], _Ear] = {}
        self._missed: set[str] = set()
        self._lock = threading.Lock()

    def go(self, every_s: float, grace_s: float) -> None:
        """Listen and backfill until it is time to stop, and then at most ``grace_s`` longer."""
        try:
            while not self.stop.is_set() and not self.run.is_broken:
                names = self._names = self._list()
                next_s = monotonic_s() + every_s
                self._listen_to(names)
                self._take_missed()
                self._visit(names)
                while monotonic_s() < next_s and not self.stop.wait(_LOOK_S):
                    if missed := self._take_missed():
                        self._visit(missed)
        finally:
            self.stop.set()
            until_s = monotonic_s() + grace_s
            for ear in self._ears.values():
                ear.thread.join(max(0.0, until_s - monotonic_s()))
                if ear.error is not None:
                    self.run.note(ear.entity, ear.error)

    def connected(self, entity: str) -> None:
        """A connection was made: what happened before it is to be fetched."""
        with self._lock:
            self._missed.add(entity)

    def _visit(self, names: Sequence[str]) -> None:
        if not self.run.is_broken:
            self.run.go(Feed(names, self.store, self.pipeline, self._size))

    def _take_missed(self) -> list[str]:
        with self._lock:
            missed, self._missed = sorted(self._missed), set()
        return missed

    def _list(self) -> list[str]:
        """The entities now; those of the last time, if the user's function fails this time."""
        retry = self.pipeline.retry
        try:
            return Pace(Limits()).call(self._list_once, retry, self.stop)
        except Exception as error:
            if self._names is None or not retry.covers(error):
                raise
            return self._names

    def _list_once(self) -> list[str]:
        names = [str(each) for each in itertools.islice(self._listed(), _MOST + 1)]
        if len(names) > _MOST:
            raise belaypin.UsageError(
                f"A live run listens to at most {_MOST} entities, a thread for each, and there are "
                f"more: share them out with run(entities=...), or listen to many as one entity."
            )
        return names

    def _listen_to(self, names: Sequence[str]) -> None:
        for name, listener in itertools.product(names, self.pipeline.listeners):
            if (name, listener.stream) not in self._ears:
                self._ears[name, listener.stream] = _Ear(self, name, listener)


class _Ear:
    """Listens to one stream of one entity, connection after connection."""

    def __init__(self, listening: Listening, entity: str, listener: Listener) -> None:
        self.entity = entity
        self.error: str | None = None
        """Why it does not listen at the moment."""
        self._listening = listening
        self._listener = listener
        self._stop = listening.stop
        source = listening.pipeline.source_of(listener.stream)
        assert source is not None
        self._source = source
        paces = {source.stream: Pace(Limits())}
        self._visitor = Visitor(listening.pipeline, paces, self._stop, listening.run.count)
        name = f"belaypin-live-{entity}"
        self.thread = threading.Thread(target=self._listen, name=name, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._lease()
                failures, self.error = 1, "the source ended"
            except Stopped:
                return
            except Exception as error:  # noqa: BLE001 -- the lease has stored it; the run notes it
                failures = 1 if self.error is None else failures + 1
                self.error = f"{type(error).__name__}: {error}"
            self._pause(failures)

    def _pause(self, failures: int) -> None:
        policy = self._listener.reconnect
        delay_us = policy.delay_us(min(failures, policy.max_attempts - 1), jitter(0, 1))
        self._stop.wait((delay_us or 0) / 1_000_000)

    def _lease(self) -> None:
        listening, pipeline = self._listening, self._listening.pipeline
        with listening.store.lease(
            pipeline.name, self.entity, role=ROLE, ttl_s=pipeline.ttl_s, retry=pipeline.retry
        ) as lease:
            events = self._listener.events
            found = events.call(self.entity, **events.named(lease=lease))
            if hasattr(found, "__aiter__"):
                found = awaiting.each(found, self._stop)
            try:
                self._connection(lease, iter(found))
            finally:
                if hasattr(found, "close"):
                    found.close()

    def _connection(self, lease: belaypin.Lease, found: Iterator[Sequence[Any]]) -> None:
        """What is covered begins when the source has said something: before, nobody listened."""
        first = next(found, None)
        if first is None:
            return
        options = self._source.options
        with lease.live(
            self._source.stream,
            at=options["at"],
            settle=self._listener.settle,
            processor=options["processor"],
            retry=self._source.retry,
        ) as live:
            self.error = None
            self._listening.connected(self.entity)
            for events in itertools.chain([first], found):
                if events:
                    self._visitor.commit(live.batch(events), self._source, lease)
                else:
                    live.heartbeat()
                if self._stop.is_set():
                    raise Stopped
