"""Pipelines: decorators that name what the loop fetches and stores; a runner spreads the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from belaypin.pipeline.definition import Pipeline
    from belaypin.pipeline.engines import Engine, WorkerDied
    from belaypin.pipeline.reference import load
    from belaypin.pipeline.report import Progress, RunReport, StreamReport
    from belaypin.pipeline.stopping import Stop

__all__ = [
    "Engine",
    "Pipeline",
    "Progress",
    "RunReport",
    "Stop",
    "StreamReport",
    "WorkerDied",
    "load",
]

_HOMES = {
    "Engine": "engines",
    "Pipeline": "definition",
    "Progress": "report",
    "RunReport": "report",
    "Stop": "stopping",
    "StreamReport": "report",
    "WorkerDied": "engines",
    "load": "reference",
}

if not TYPE_CHECKING:  # what a pipeline needs is imported when it is asked for

    def __getattr__(name: str) -> Any:
        from importlib import import_module

        if name in _HOMES:
            return getattr(import_module(f"belaypin.pipeline.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'belaypin.pipeline' has no attribute {name!r}")
