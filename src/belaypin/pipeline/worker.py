"""Work on a batch of entities: in this process, or wherever an engine takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

import belaypin
from belaypin.clock import monotonic_s
from belaypin.pipeline.pace import Pace
from belaypin.pipeline.reference import Reference
from belaypin.pipeline.stopping import Stop, Stopped
from belaypin.pipeline.tally import Outcome, StreamTally, Tally
from belaypin.pipeline.visit import Visitor

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["HEEDED", "STOP", "Crew", "Task", "close_crews", "refuse_while_loading", "work_on"]

STOP = Stop()
"""Set when this process was told to stop: whatever is at work here leaves after the page in hand."""

HEEDED: ContextVar[Stop] = ContextVar("HEEDED", default=STOP)
"""What tasks heed here: STOP, or that of one run where several share a process."""

Count = Callable[[str, StreamTally], None]

_ERRORS = 20
_ERROR_CHARS = 500
_FATAL = (belaypin.StoreUnavailable, belaypin.StoreFull, belaypin.StoreClosed)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A batch of entities for another process, which finds all else by itself.

    It lasts ``slice_s`` at most, and the page in hand: what is not done by then goes back. So an
    engine needs no way to call its tasks off, and the runner hears of each now and then.
    """

    reference: Reference
    store: str
    entities: tuple[str, ...]
    processes: int = 1
    slice_s: float = 5.0


class Crew:
    """Works on the entities of one pipeline in one store, from as many threads as you like."""

    def __init__(self, pipeline: Pipeline, store: belaypin.Store, processes: int = 1) -> None:
        self._pipeline = pipeline
        self._store = store
        self._paces = {part.stream: Pace(part.limits.shared(processes)) for part in pipeline.parts}

    def batch(self, entities: Iterable[str], stop: Stop, count: Count) -> Outcome:
        """Visit each entity, unless it is time to stop."""
        outcome = Outcome()
        for entity in entities:
            if stop.is_set() or outcome.fatal:
                outcome.left.append(entity)
            else:
                self._visit(entity, Visitor(self._pipeline, self._paces, stop, count), outcome)
        return outcome

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _visit(self, entity: str, visitor: Visitor, outcome: Outcome) -> None:
        pipeline, token = self._pipeline, 0
        try:
            with self._store.lease(
                pipeline.name, entity, ttl_s=pipeline.ttl_s, retry=pipeline.retry
            ) as lease:
                token = lease.token
                visitor.work(lease)
            visitor.note_lags(self._store, entity)
        except Stopped:
            outcome.left.append(entity)
        except (belaypin.StoreBusy, belaypin.Fenced):
            outcome.held.append(entity)
        except _FATAL as error:
            outcome.left.append(entity)
            outcome.fatal = _fatal(error)
        except Exception as error:  # noqa: BLE001 -- the lease has stored it, with its next try
            if isinstance(error, belaypin.LeaseHeld) and not token:
                outcome.held.append(entity)
                return
            outcome.failed += 1
            if len(outcome.errors) < _ERRORS:
                outcome.errors.append((entity, f"{type(error).__name__}: {_text(error)}"))
        else:
            outcome.done += 1
        if visitor.failing and not outcome.fatal:
            visitor.note_quarantined(self._store, entity, token)


def work_on(task_text: bytes) -> bytes:
    """What an engine calls in its worker processes: a Task in, an Outcome out, both as JSON."""
    task = msgspec.json.decode(task_text, type=Task)
    try:
        crew = _crew(task)
    except Exception as error:  # noqa: BLE001 -- the runner reports it
        return Outcome(left=list(task.entities), fatal=_fatal(error)).encode()
    tally = Tally()
    stop = Stop(monotonic_s() + task.slice_s, parent=HEEDED.get(), is_slice=True)
    outcome = crew.batch(task.entities, stop, tally.add)
    outcome.streams = tally.copy()
    return outcome.encode()


def refuse_while_loading(pipeline: str) -> None:
    """Raise UsageError if a worker is importing the pipeline only to work for it."""
    if getattr(_loading, "is_so", False):
        raise belaypin.UsageError(
            f"The module of the pipeline {pipeline!r} calls run() as it is imported, and each worker "
            f'process imports it: put that call under `if __name__ == "__main__":`.'
        )


_crews: dict[tuple[Stop, Reference, str, int], Crew] = {}
_lock = threading.Lock()
_loading = threading.local()


def _crew(task: Task) -> Crew:
    """That of this process; its store stays open for the tasks to come."""
    key = HEEDED.get(), task.reference, task.store, task.processes
    with _lock:
        if key not in _crews:
            _loading.is_so = True
            try:
                pipeline = task.reference.load()
            finally:
                _loading.is_so = False
            pipeline.check()
            _crews[key] = Crew(pipeline, belaypin.open(task.store), task.processes)
        return _crews[key]


def close_crews(heeded: Stop) -> None:
    """Close the stores of the tasks that heeded this stop: a process that goes on needs them no more."""
    with _lock:
        crews = [_crews.pop(key) for key in list(_crews) if key[0] is heeded]
    for crew in crews:
        crew.close()


def _fatal(error: Exception) -> tuple[str, str]:
    return type(error).__name__, _text(error)


def _text(error: Exception) -> str:
    return str(error)[:_ERROR_CHARS]
