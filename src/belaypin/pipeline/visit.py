"""A visit: all that is to be done for one entity, under its lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import belaypin
from belaypin.pipeline import awaiting
from belaypin.pipeline.pace import Pace
from belaypin.pipeline.parts import Function, Handler, Source, Watch
from belaypin.pipeline.stopping import Stop, Stopped
from belaypin.pipeline.tally import StreamTally

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Visitor", "called"]

_LISTED = 10_000


def called(function: Function, *args: Any, **values: Any) -> Any:
    """Call a user's function, with what it asks for by name; an async one is awaited."""
    result = function.call(*args, **function.named(**values))
    return awaiting.run(result) if function.is_async else result


class Visitor:
    """Does the work of a pipeline for one entity after the other."""

    def __init__(
        self,
        pipeline: Pipeline,
        paces: dict[str, Pace],
        stop: Stop,
        count: Callable[[str, StreamTally], None],
    ) -> None:
        self._pipeline = pipeline
        self._paces = paces
        self._stop = stop
        self._count = count
        self.failing: set[str] = set()
        """Streams in which items failed."""

    def work(self, lease: belaypin.Lease) -> None:
        """Everything of the lease's entity. Raises Stopped if it is time to stop before the end."""
        for part in self._pipeline.parts:
            if self._stop.is_set():
                raise Stopped
            if isinstance(part, Watch):
                self._watch(lease, part)
            else:
                self._read(lease, part)

    def _watch(self, lease: belaypin.Lease, watch: Watch) -> None:
        entity = lease.key.entity
        ask = self._asking(watch, lambda: called(watch.fetch, entity, lease=lease))
        content = ask()
        if content is None:  # there is none
            return
        revision = None if watch.revision is None else watch.revision(content)
        counts = StreamTally(pages=1)
        with lease.changed(watch.stream, content, revision=revision, **watch.options) as change:
            if change:
                handler = self._pipeline.handlers[watch.stream].function
                _handle(handler, change.tx, content, entity=entity, kind=change.kind, lease=lease)
        counts.new += change.kind == "new"
        counts.changed += change.kind == "changed"
        counts.skipped += not change
        self._count(watch.stream, counts)

    def _read(self, lease: belaypin.Lease, source: Source) -> None:
        options = {**source.options, "since": source.since, "retry": source.retry}
        until = source.until
        if until is not None:
            options["until"] = until() if callable(until) else until
        for window in lease.windows(source.stream, **options):
            for page in window.pages(self._fetching(lease, source, window), **source.paths):
                self.commit(page, source, lease, is_careful=window.is_retry)
                if self._stop.is_set() and not page.is_last:
                    raise Stopped
            if self._stop.is_set():
                raise Stopped

    def note_lags(self, store: belaypin.Store, entity: str) -> None:
        """Count how far behind the streams of an entity are now."""
        for part in self._pipeline.parts:
            if isinstance(part, Source):
                lag = store.lag((self._pipeline.name, entity, part.stream))
                if lag is not None:
                    self._count(part.stream, StreamTally(lag_s=lag.total_seconds()))

    def note_quarantined(self, store: belaypin.Store, entity: str, token: int) -> None:
        """Count the items that were given up under the lease with this token."""
        for stream in self.failing:
            given_up = store.failures(
                self._pipeline.name, entity, stream, status="quarantined", limit=_LISTED
            )
            count = sum(failure.token == token for failure in given_up)
            self._count(stream, StreamTally(quarantined=count))

    def commit(
        self,
        page: belaypin.Page | belaypin.Batch,
        source: Source,
        lease: belaypin.Lease,
        *,
        is_careful: bool = False,
    ) -> None:
        """Commit a page with all its fresh items; those that fail are put aside."""
        handler = self._pipeline.handlers[source.stream]
        try:
            counts = _commit(page, source, handler, lease, is_careful=is_careful)
        except Exception as error:
            # Most pages hold nothing that fails, and are spared two statements an item.
            is_final = handler.is_bulk or is_careful or page.is_committed
            if is_final or not source.retry.covers(error):
                raise
            counts = _commit(page, source, handler, lease, is_careful=True)
        if counts.failed:
            self.failing.add(source.stream)
        self._count(source.stream, counts)

    def _fetching(
        self, lease: belaypin.Lease, source: Source, window: belaypin.Window
    ) -> Callable[[Any], Any]:
        entity = lease.key.entity

        def fetch(cursor: Any) -> Any:
            ask = self._asking(
                source, lambda: called(source.fetch, entity, window, cursor, lease=lease)
            )
            return ask()

        return fetch

    def _asking(self, part: Source | Watch, ask: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: self._paces[part.stream].call(ask, part.retry, self._stop)


def _commit(
    page: belaypin.Page | belaypin.Batch,
    source: Source,
    handler: Handler,
    lease: belaypin.Lease,
    *,
    is_careful: bool,
) -> StreamTally:
    with page.commit() as tx:
        fresh = tx.fresh(page.items, key=source.key, **source.fresh)
        given = {"entity": lease.key.entity, "lease": lease}
        if handler.is_bulk and fresh:
            _handle(handler.function, tx, fresh, **given)
        elif is_careful:
            for item in fresh:
                with tx.attempt(item):
                    _handle(handler.function, tx, item, kind=tx.kind(item), **given)
        elif not handler.is_bulk:
            for item in fresh:
                _handle(handler.function, tx, item, kind=tx.kind(item), **given)
        failed = {id(item) for item in tx.failed}
        kinds = [tx.kind(item) for item in fresh if id(item) not in failed]
    return StreamTally(
        new=kinds.count("new"),
        changed=kinds.count("changed"),
        skipped=len(page.items) - len(fresh),
        failed=len(failed),
        pages=1,
    )


def _handle(function: Function, tx: Any, content: Any, **values: Any) -> None:
    named = function.named(**values)
    if function.is_async:
        awaiting.run_at_home(function.call, tx, content, **named)
    else:
        function.call(tx, content, **named)
