"""How a run begins and ends: the store, the tables, the entities, the engine and the signals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import belaypin
from belaypin.clock import monotonic_s
from belaypin.fields import check_count, describe
from belaypin.pipeline import awaiting
from belaypin.pipeline.engines import Engine, Serial, engine_of
from belaypin.pipeline.feed import Feed
from belaypin.pipeline.listening import Listening
from belaypin.pipeline.reference import Reference
from belaypin.pipeline.report import Progress, RunReport
from belaypin.pipeline.running import Run
from belaypin.pipeline.stopping import Stop, Stopped, on_signals
from belaypin.pipeline.worker import Task, refuse_while_loading

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline

__all__ = ["Options", "start"]

_FAR_BATCH = 10


class Options(NamedTuple):
    """What ``Pipeline.run`` was asked for; lengths of time in seconds."""

    engine: str | Executor | Engine
    entities: Iterable[str | int] | None
    deadline_s: float | None
    grace_s: float
    progress: Callable[[Progress], Any] | None
    stop: Stop
    batch: int | None
    live: bool
    every_s: float


def start(pipeline: Pipeline, url: str, options: Options) -> RunReport:
    """Run the pipeline on the store at ``url``."""
    refuse_while_loading(pipeline.name)
    pipeline.check()
    if options.live and not pipeline.listeners:
        raise belaypin.UsageError(
            f"The pipeline {pipeline.name!r} listens to nothing: decorate a function that yields "
            f"events with @pipeline.live(stream), or run it without live."
        )
    check_count("batch", options.batch, at_least=1)
    due_s = None if options.deadline_s is None else monotonic_s() + options.deadline_s
    stop = Stop(due_s, parent=options.stop)
    engine = engine_of(options.engine)
    is_abandoned = True
    try:
        # What works in our own thread can only be interrupted there; others are left behind.
        interrupt_s = options.grace_s if isinstance(engine, Serial) else None
        with on_signals(stop, interrupt_s), belaypin.open(url) as store:
            set_up(pipeline, store)
            run = Run(
                pipeline,
                store,
                engine,
                stop,
                task=None if engine.is_local else _task(pipeline, url, engine),
                grace_s=options.grace_s,
                progress=options.progress,
            )
            size = options.batch or (1 if engine.is_local else _FAR_BATCH)
            with contextlib.suppress(Stopped):
                if options.live:
                    listed = partial(_entities, pipeline, options.entities)
                    listening = Listening(pipeline, store, run, stop, listed, size)
                    listening.go(options.every_s, options.grace_s)
                else:
                    entities = _entities(pipeline, options.entities)
                    run.go(Feed(entities, store, pipeline, size))
            is_abandoned = run.is_abandoned
            return run.report(_name(options.engine))
    finally:
        engine.close(at_once=is_abandoned)


def set_up(pipeline: Pipeline, store: belaypin.Store) -> None:
    """Have the pipeline's tables made."""
    for function in pipeline.setups:
        if function.is_async:
            awaiting.run_at_home(function.call, store)
        else:
            function.call(store)


def _entities(pipeline: Pipeline, given: Iterable[str | int] | None) -> Iterable[Any]:
    if given is not None:
        return given
    if pipeline.lister is None:
        raise belaypin.UsageError(
            f"The pipeline {pipeline.name!r} does not know its entities: decorate a function that "
            f"returns or yields them with @pipeline.entities, or call run(entities=[...])."
        )
    found = pipeline.lister.call()
    if hasattr(found, "__aiter__"):
        return awaiting.each(found)
    return awaiting.run(found) if pipeline.lister.is_async else found


def _task(pipeline: Pipeline, url: str, engine: Engine) -> Task:
    if ":memory:" in url:
        raise belaypin.UsageError(
            f"{url} lives in this process alone, and the engine works in others: use a file."
        )
    reference = Reference.of(pipeline, pipeline.home)
    for part in pipeline.parts:
        part.limits.shared(engine.processes)
    return Task(reference=reference, store=url, entities=(), processes=engine.processes)


def _name(engine: object) -> str:
    return engine if isinstance(engine, str) else type(engine).__name__ or describe(engine)
