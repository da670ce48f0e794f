"""Pipeline: decorators that name what the loop fetches and stores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any, TypeVar

import belaypin
from belaypin.compat import environment
from belaypin.fields import describe
from belaypin.pipeline.engines import Engine
from belaypin.pipeline.parts import Function, Handler, Listener, Source, Watch, limits_of
from belaypin.pipeline.report import Progress, RunReport
from belaypin.pipeline.stopping import Stop
from belaypin.pipeline.tally import StreamTally
from belaypin.times import At, Duration, duration_us

__all__ = ["Pipeline"]

F = TypeVar("F", bound=Callable[..., Any])

_NAMED = ("entity", "kind", "lease")


class Pipeline:
    """A loop over entities and their streams, written as functions: run it, stop it, run it again.

    ``store`` is the URL of the store (see ``belaypin.open``), unless ``run`` is given another; without
    either, the environment variable BELAYPIN_STORE is.
    ``retry`` says when an entity that failed is due again, and is the default of the sources.
    ``ttl_s`` is the lifetime of the leases. Functions may be async: what they await runs on one
    event loop of the process.

    >>> shop = Pipeline("shop", store="sqlite:///:memory:")
    >>> @shop.setup
    ... def tables(store):
    ...     store.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER, site TEXT)")
    >>> @shop.entities
    ... def sites():
    ...     return ["north", "south"]
    >>> @shop.source("orders", since="30d")
    ... def fetch(site, window, cursor):
    ...     return [{"id": 1}, {"id": 2}], None
    >>> @shop.item("orders")
    ... def insert(tx, order, entity):
    ...     tx.execute("INSERT INTO orders VALUES (?, ?)", (order["id"], entity))
    >>> report = shop.run(engine="serial")
    >>> report.reason, report.entities_done, report.streams["orders"].new
    ('complete', 2, 4)
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | None = None,
        retry: belaypin.Retry | None = None,
        ttl_s: Duration = 30,
    ) -> None:
        belaypin.Key(name)
        self.name = name
        self.store = store
        self.retry = retry or belaypin.Retry()
        self.ttl_s = duration_us(ttl_s, "ttl_s") / 1_000_000
        self.parts: list[Source | Watch] = []
        self.listeners: list[Listener] = []
        self.handlers: dict[str, Handler] = {}
        self.setups: list[Function] = []
        self.lister: Function | None = None
        self.home: str = sys._getframe(1).f_globals.get("__name__", "__main__")

    def __repr__(self) -> str:
        return (
            f"<Pipeline {self.name!r}: {', '.join(part.stream for part in self.parts) or 'empty'}>"
        )

    def setup(self, function: F) -> F:
        """Call ``function(store)`` at the beginning of each run: it makes your tables."""
        self.setups.append(Function(function, ("store",)))
        return function

    def entities(self, function: F) -> F:
        """``function()`` returns or yields the entities: texts or numbers, as many as there are.

        They are taken a thousand at a time, so it may yield millions.
        """
        self.lister = Function(function, ())
        return function

    def source(
        self,
        stream: str,
        *,
        since: str | timedelta | datetime,
        until: datetime | Callable[[], datetime] | None = None,
        overlap: Duration = 0,
        settle: Duration = 0,
        at: At | None = None,
        horizon: Duration | None = None,
        processor: int = 0,
        key: str | Callable[[Any], Any] = "id",
        content: Sequence[str] | Callable[[Any], Any] | None = None,
        revision: str | Callable[[Any], Any] | None = None,
        items: str | None = None,
        cursor: str | None = None,
        retry: belaypin.Retry | None = None,
        rate: str | float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[F], F]:
        """``function(entity, window, cursor)`` fetches a page of ``stream``.

        It returns ``(items, next_cursor)``, as for ``window.pages``; ``items`` and ``cursor`` are
        paths into a document or response instead. The other options are those of ``lease.windows``
        and of ``tx.fresh``; ``until`` may be a function.

        ``retry``: how often, and after what pause, a fetch that raises is made again before the
        entity counts as failed (the answer's Retry-After is heeded), and an item that fails.
        ``rate`` ("10/s") and ``concurrency`` bound the calls of the whole run, whatever the engine.
        """
        windows = {"overlap": overlap, "settle": settle, "at": at, "horizon": horizon}
        fresh = {"content": content, "revision": revision}
        paths = {"items": items, "cursor": cursor}

        def decorate(function: F) -> F:
            self._add(
                Source(
                    stream=self._stream(stream),
                    fetch=Function(function, ("entity", "window", "cursor"), ("lease",)),
                    key=key,
                    since=since,
                    until=until,
                    options={**windows, "processor": processor},
                    paths={name: path for name, path in paths.items() if path is not None},
                    fresh=fresh,
                    retry=retry or self.retry,
                    limits=limits_of(rate, concurrency),
                )
            )
            return function

        return decorate

    def watch(
        self,
        stream: str,
        *,
        ignore: Iterable[str] = (),
        revision: Callable[[Any], Any] | None = None,
        processor: int = 0,
        retry: belaypin.Retry | None = None,
        rate: str | float | None = None,
        concurrency: int | None = None,
    ) -> Callable[[F], F]:
        """``function(entity)`` fetches a document, which is handled when its content has changed.

        It returns the document, or None if there is none. ``ignore`` and ``processor`` are those of
        ``lease.changed``, ``revision`` reads a document's; the rest is as for ``source``.
        """
        options = {"ignore": tuple(ignore), "processor": processor}

        def decorate(function: F) -> F:
            self._add(
                Watch(
                    stream=self._stream(stream),
                    fetch=Function(function, ("entity",), ("lease",)),
                    options=options,
                    revision=revision,
                    retry=retry or self.retry,
                    limits=limits_of(rate, concurrency),
                )
            )
            return function

        return decorate

    def live(
        self, stream: str, *, settle: Duration = 0, reconnect: belaypin.Retry | None = None
    ) -> Callable[[F], F]:
        """``function(entity)`` yields the events of ``stream`` as they come, list by list.

        It is a generator, best an async one, that connects, yields an empty list at once and whenever
        the source tells that it is alive, and yields each list of events that came. What it says is
        listened to by ``run(live=True)``. When it ends or raises, it is called again after the
        pause that ``reconnect`` says, and what was missed is fetched by the source of the same
        stream, which also says what an event's key, time and content are. ``settle`` is as for
        ``lease.live``: how late an event may come.
        """
        policy = reconnect or belaypin.Retry(backoff="100ms", max_backoff="30s", max_attempts=100)

        def decorate(function: F) -> F:
            if any(each.stream == stream for each in self.listeners):
                raise belaypin.UsageError(f"{stream!r} is listened to already.")
            events = Function(function, ("entity",), ("lease",))
            self.listeners.append(
                Listener(
                    stream=self._stream(stream), events=events, settle=settle, reconnect=policy
                )
            )
            return function

        return decorate

    def item(self, stream: str) -> Callable[[F], F]:
        """``function(tx, item)`` writes what a fresh item (or a changed document) means.

        It is called inside the commit, and may ask for ``entity``, ``kind`` ("new" or "changed")
        and ``lease`` by these names. An item that it raises for is put aside by the ``retry`` of
        its source, and the others go on.
        """
        return self._handler(stream, _NAMED, is_bulk=False)

    def items(self, stream: str) -> Callable[[F], F]:
        """``function(tx, items)`` writes all fresh items of a page at once: ``tx.copy`` is fast.

        It may ask for ``entity`` and ``lease``; ``tx.kind(item)`` tells new from changed. If it
        raises, the page is not committed, and the entity counts as failed.
        """
        return self._handler(stream, ("entity", "lease"), is_bulk=True)

    def run(
        self,
        store: str | None = None,
        *,
        engine: str | Executor | Engine = "threads:4",
        entities: Iterable[str | int] | None = None,
        deadline_s: Duration | None = None,
        grace_s: Duration = 10,
        progress: Callable[[Progress], Any] | None = None,
        stop: Stop | None = None,
        batch: int | None = None,
        live: bool = False,
        every: Duration = "1m",
    ) -> RunReport:
        """Visit all entities, each under its lease, and return what was done and what remains.

        ``engine``: "serial", "threads:4", "processes:4", "dask", "ray" or an executor.
        ``entities`` replaces those of the pipeline. After ``deadline_s`` seconds, on ``stop.set()``
        or on SIGTERM or Ctrl-C, the pages in hand are committed and the leases released, within
        ``grace_s`` seconds. A second signal ends the process at once, and nothing is lost by that.
        ``progress`` is called up to four times a second, with a Progress. ``batch`` entities go out
        together, by default one to threads and ten to other processes.

        With ``live`` it goes on until it is stopped: it listens, in threads of this process, to
        what ``Pipeline.live`` names, fetches what was missed after each new connection, and visits
        all entities again ``every`` so long.

        Raises UsageError if the pipeline is not whole, and the errors of ``belaypin.open``.
        """
        from belaypin.pipeline.start import Options, start

        options = Options(
            engine=engine,
            entities=entities,
            deadline_s=None if deadline_s is None else duration_us(deadline_s, "deadline_s") / 1e6,
            grace_s=duration_us(grace_s, "grace_s") / 1e6,
            progress=progress,
            stop=stop or Stop(),
            batch=batch,
            live=live,
            every_s=duration_us(every, "every") / 1e6,
        )
        return start(self, self.url(store), options)

    def work(self, lease: belaypin.Lease, step: belaypin.Step | None = None) -> None:
        """Do all that is to be done for the entity of a lease; for ``store.recover(pipeline.work)``.

        It needs ``store`` no more than any function with a lease does.
        """
        from belaypin.pipeline.visit import Visitor

        self.check()
        Visitor(self, self._paces(), Stop(), _uncounted).work(lease)

    def url(self, store: str | None = None) -> str:
        """The URL given here, else that of the pipeline, else BELAYPIN_STORE. Raises UsageError."""
        url = store or self.store or environment("BELAYPIN_STORE")
        if url is None:
            raise belaypin.UsageError(
                f"The pipeline {self.name!r} has no store: give Pipeline(..., store=URL) or "
                f"run(URL), such as sqlite:///app.db, or set BELAYPIN_STORE."
            )
        return url

    def check(self) -> None:
        """Raise UsageError if something is missing or left over."""
        streams = {part.stream for part in self.parts}
        if not streams:
            raise belaypin.UsageError(
                f"The pipeline {self.name!r} reads nothing: decorate a function that fetches, with "
                f"@pipeline.source(stream, since=...) or @pipeline.watch(stream)."
            )
        if missing := sorted(streams - self.handlers.keys()):
            raise belaypin.UsageError(
                f"Nothing handles {missing[0]!r}: decorate a function(tx, item) with "
                f"@pipeline.item({missing[0]!r})."
            )
        for each in self.listeners:
            source = self.source_of(each.stream)
            if source is None or source.options["at"] is None:
                raise belaypin.UsageError(
                    f"{each.stream!r} is listened to, and nothing could fetch what was missed: add "
                    f"@pipeline.source({each.stream!r}, since=..., at=...), where at= says what an "
                    f"event's time is."
                )
        if unknown := sorted(self.handlers.keys() - streams):
            raise belaypin.UsageError(
                f"{unknown[0]!r} has a handler, and nothing fetches it; there are "
                f"{', '.join(sorted(streams))}."
            )

    def source_of(self, stream: str) -> Source | None:
        """The source of a stream; None if there is none."""
        found = (p for p in self.parts if isinstance(p, Source) and p.stream == stream)
        return next(found, None)

    def _handler(self, stream: str, names: tuple[str, ...], *, is_bulk: bool) -> Callable[[F], F]:
        def decorate(function: F) -> F:
            if stream in self.handlers:
                raise belaypin.UsageError(
                    f"{stream!r} has a handler already: one handles a stream."
                )
            what = "items" if is_bulk else "item"
            self.handlers[stream] = Handler(Function(function, ("tx", what), names), is_bulk)
            return function

        return decorate

    def _add(self, part: Source | Watch) -> None:
        if any(each.stream == part.stream for each in self.parts):
            raise belaypin.UsageError(f"{part.stream!r} is fetched already: one function a stream.")
        self.parts.append(part)

    def _stream(self, stream: str) -> str:
        if not stream:
            raise belaypin.UsageError(f"A stream needs a name, and {describe(stream)} is none.")
        return belaypin.Key(self.name, "entity", stream).stream

    def _paces(self) -> dict[str, Any]:
        from belaypin.pipeline.pace import Pace

        return {part.stream: Pace(part.limits) for part in self.parts}


def _uncounted(stream: str, counts: StreamTally) -> None:
    """Whoever recovers counts for himself."""
