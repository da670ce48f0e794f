"""A run: entities go out in batches, a bounded number at once, and come back as counts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import TYPE_CHECKING, Any

import msgspec

import belaypin
from belaypin.clock import monotonic_s
from belaypin.pipeline.engines import Engine, WorkerDied
from belaypin.pipeline.feed import Feed
from belaypin.pipeline.report import Ended, Progress, RunReport
from belaypin.pipeline.stopping import Stop, Stopped
from belaypin.pipeline.tally import Outcome, StreamTally, Tally
from belaypin.pipeline.worker import Crew, Task, work_on

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Run"]

Batch = tuple[str, ...]

_TICK_S = 0.1
_PROGRESS_S = 0.25
_DEATHS = 25
"""So often in a row may workers die before the run gives up; an item that kills is put aside sooner."""
_ERRORS = 20
_HELD = 10_000
"""So many names of entities that others hold are kept, to try them again; more are only counted."""
_STORE_AWAY_S = 30.0
_OURS: dict[str, type[belaypin.BelaypinError]] = {
    error.__name__: error
    for error in (belaypin.UsageError, belaypin.MissingDriver, belaypin.SchemaTooNew)
}
"""What is to be mended before another run: raised, not reported."""


class Run:
    """One run of a pipeline on an engine."""

    def __init__(
        self,
        pipeline: Pipeline,
        store: belaypin.Store,
        engine: Engine,
        stop: Stop,
        *,
        task: Task | None,
        grace_s: float,
        progress: Callable[[Progress], Any] | None,
    ) -> None:
        self._engine = engine
        self._feed: Feed | None = None
        self._stop = stop
        self._task = task
        self._grace_s = grace_s
        self._progress = progress
        self._crew = Crew(pipeline, store) if task is None else None
        self._pipeline = pipeline
        self._tally = Tally()
        self._work: dict[Future[bytes], Batch] = {}
        self._again: deque[Batch] = deque()
        self._held: deque[str] = deque()
        self._held_beyond = 0
        self._held_since_s: float | None = None
        self._began_s = monotonic_s()
        self._store_ok_s = self._began_s
        self._not_before_s = 0.0
        self._told_s = 0.0
        self._telling = threading.Lock()
        self._deaths = 0
        self._done = self._failed = 0
        self._errors: list[tuple[str, str]] = []
        self._broken = False

    def go(self, feed: Feed) -> None:
        """Work until all of the feed is done, or it is time to stop. Counts entities anew."""
        self._feed = feed
        self._done = self._failed = 0
        self._errors.clear()
        self._held.clear()
        self._held_beyond = 0
        self._held_since_s = None
        gave_up_s: float | None = None
        while True:
            if not self._is_ending():
                self._give_out()
            elif gave_up_s is None:
                gave_up_s = monotonic_s() + self._grace_s
                self._engine.stop()
            if not self._work and (self._is_ending() or not self._is_waiting()):
                return
            if gave_up_s is not None and monotonic_s() > gave_up_s:
                return
            if self._work:
                finished, _ = wait(self._work, _TICK_S, FIRST_COMPLETED)
                # Nobody wakes us for what was called off before it began.
                for future in finished | {each for each in self._work if each.cancelled()}:
                    self._take_back(future, self._work.pop(future))
            self._tell()

    def report(self, engine: str) -> RunReport:
        """What was done, and what remains."""
        remaining = self._remaining()
        return RunReport.of(
            self._tally.copy(),
            pipeline=self._pipeline.name,
            reason=self._reason(remaining),
            seconds=monotonic_s() - self._began_s,
            engine=engine,
            entities_done=self._done,
            entities_failed=self._failed,
            entities_held=len(self._held) + self._held_beyond,
            remaining=remaining,
            errors=tuple(self._errors),
        )

    @property
    def is_broken(self) -> bool:
        """Whether it can't go on: ``report`` says why."""
        return self._broken

    @property
    def is_abandoned(self) -> bool:
        """Whether workers did not come back in time."""
        return bool(self._work)

    # --- entities out and back ------------------------------------------------------------------

    def _give_out(self) -> None:
        while len(self._work) < self._window and not self._is_ending():
            if monotonic_s() < self._not_before_s:
                return
            try:
                batch = self._again.popleft() if self._again else self._ahead()
            except belaypin.StoreUnavailable as error:
                self._bear("StoreUnavailable", str(error))
                return
            except belaypin.BelaypinError:
                raise
            except Exception as error:  # noqa: BLE001 -- what is at work comes to its end first
                self._break(f"the entities can't be listed: {type(error).__name__}: {error}")
                return
            if not batch:
                return
            try:
                self._work[self._submit(batch)] = batch
            except Stopped:  # the grace of a batch in our own thread is over
                self._again.append(batch)
                raise

    def _ahead(self) -> Batch:
        return () if self._feed is None else self._feed.batch()

    @property
    def _window(self) -> int:
        return self._engine.slots if self._crew else 2 * self._engine.slots

    def _submit(self, batch: Batch) -> Future[bytes]:
        if self._task is None:
            return self._engine.submit(self._work_here, msgspec.json.encode(batch))
        task = msgspec.structs.replace(self._task, entities=batch)
        return self._engine.submit(work_on, msgspec.json.encode(task))

    def _work_here(self, text: bytes) -> bytes:
        assert self._crew is not None
        entities = msgspec.json.decode(text, type=list[str])
        return self._crew.batch(entities, self._stop, self.count).encode()

    def _take_back(self, future: Future[bytes], batch: Batch) -> None:
        try:
            outcome = Outcome.decode(future.result())
        except CancelledError:
            self._again.append(batch)
        except WorkerDied as death:
            self._again.append(batch)
            self._deaths += 1
            if self._deaths >= _DEATHS:
                self._break(f"{self._deaths} workers died one after the other. {death}")
        except Exception as error:  # noqa: BLE001 -- the report says so
            self._again.append(batch)
            self._break(f"{type(error).__name__}: {error}")
        else:
            self._deaths = 0
            self._absorb(outcome)

    def _absorb(self, outcome: Outcome) -> None:
        self._done += outcome.done
        self._failed += outcome.failed
        self._errors += outcome.errors[: max(0, _ERRORS - len(self._errors))]
        for stream, counts in outcome.streams.items():
            self._tally.add(stream, counts)
        if outcome.left:
            self._again.append(tuple(outcome.left))
        room = _HELD - len(self._held)
        self._held.extend(outcome.held[:room])
        self._held_beyond += len(outcome.held[room:])
        if outcome.fatal is None:
            self._store_ok_s = monotonic_s()
        else:
            self._bear(*outcome.fatal)

    def _bear(self, name: str, text: str) -> None:
        """Wait for a database that went away; what waiting does not mend ends the run."""
        if name in _OURS:
            raise _OURS[name](text)
        now_s = monotonic_s()
        if name == "StoreUnavailable" and now_s - self._store_ok_s < _STORE_AWAY_S:
            self._not_before_s = now_s + 1
        else:
            self._break(f"{name}: {text}")

    def _is_waiting(self) -> bool:
        """Whether there is more to come though nothing is at work: a while later, or now."""
        pause_s = self._not_before_s - monotonic_s()
        if pause_s > 0:
            self._stop.wait(pause_s)
            return True
        return bool(self._again) or self._go_on_with_held()

    def _go_on_with_held(self) -> bool:
        """Whether entities that others hold are to be tried (again): until their leases had ended.

        Who still holds one after that is alive and at work on it.
        """
        if not self._held:
            return False
        now_s = monotonic_s()
        if self._held_since_s is None:
            self._held_since_s = now_s
        elif now_s - self._held_since_s > self._pipeline.ttl_s + 1:
            return False
        elif self._stop.wait(1.0):
            return True
        self._again.extend((entity,) for entity in self._held)
        self._held.clear()
        return True

    # --- how it stands ---------------------------------------------------------------------------

    def note(self, entity: str, error: str) -> None:
        """Add an error to the report."""
        self._errors.append((entity, error))

    def _is_ending(self) -> bool:
        return self._broken or self._stop.is_set()

    def _break(self, why: str) -> None:
        self._broken = True
        self._errors.append(("", why))

    def _remaining(self) -> int | None:
        back = sum(map(len, self._again)) + sum(map(len, self._work.values()))
        ahead = 0 if self._feed is None else self._feed.remaining
        return None if ahead is None else back + ahead

    def _reason(self, remaining: int | None) -> Ended:
        if self._broken:
            return "failed"
        if remaining == 0:
            return "complete"
        return "stopped" if self._stop.is_asked else "deadline"

    def count(self, stream: str, counts: StreamTally) -> None:
        """Add what was counted in this process."""
        self._tally.add(stream, counts)
        self._tell()

    def _tell(self) -> None:
        if self._progress is None or monotonic_s() - self._told_s < _PROGRESS_S:
            return
        if not self._telling.acquire(blocking=False):
            return
        try:
            self._told_s = monotonic_s()
            self._progress(self.progress())
        finally:
            self._telling.release()

    def progress(self) -> Progress:
        """How the run stands now."""
        streams = self._tally.copy().values()
        seconds, items = monotonic_s() - self._began_s, sum(s.handled for s in streams)
        lags = [s.lag_s for s in streams if s.lag_s is not None]
        return Progress(
            seconds=seconds,
            items=items,
            items_per_s=items / seconds if seconds else 0.0,
            skipped=sum(s.skipped for s in streams),
            failed=sum(s.failed for s in streams),
            entities_done=self._done,
            entities_failed=self._failed,
            entities_held=len(self._held) + self._held_beyond,
            entities_at_work=sum(map(len, list(self._work.values()))),
            remaining=self._remaining(),
            lag_s=max(lags, default=None),
        )
