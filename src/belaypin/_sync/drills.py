# Generated from src/belaypin/_async/drills.py by tools/generate_sync.py; do not edit.
"""Drills: measured recovery, kept beside the figures that are only estimated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from belaypin.errors import UsageError
from belaypin.fields import check_count
from belaypin.keys import Key
from belaypin.program import Program, SqlValue
from belaypin.times import Duration, duration_us

if TYPE_CHECKING:
    from belaypin.records.drill import Drill

__all__ = ["Drills"]

T = TypeVar("T")


class Drills(ABC):
    """What drills have shown."""

    @abstractmethod
    def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    def record_drill(
        self,
        pipeline: str,
        *,
        kills: int,
        lost: int = 0,
        doubled: int = 0,
        recovery_p50: Duration | None = None,
        recovery_p99: Duration | None = None,
    ) -> Drill:
        """Keep what a drill of a pipeline has shown; ``health`` has the newest from then on.

        ``belaypin drill`` does it. Raises UsageError for figures that can't be.
        """
        from belaypin.programs import drills

        Key(pipeline)
        for name, number in (("kills", kills), ("lost", lost), ("doubled", doubled)):
            check_count(name, number, at_least=0)
        if not kills:
            raise UsageError("A drill without kills shows nothing: kills must be at least 1.")
        p50, p99 = recovery_p50, recovery_p99
        figures: dict[str, SqlValue] = {
            "pipeline": pipeline,
            "kills": kills,
            "lost": lost,
            "doubled": doubled,
            "median_us": None if p50 is None else duration_us(p50, "recovery_p50"),
            "slow_us": None if p99 is None else duration_us(p99, "recovery_p99"),
        }
        return self._run(drills.keep(figures))

    def drills(self, pipeline: str | None = None, *, limit: int = 20) -> list[Drill]:
        """The drills of a pipeline (None: of all), newest first."""
        from belaypin.programs import drills

        check_count("limit", limit, at_least=1)
        if pipeline is not None:
            Key(pipeline)
        return self._run(drills.newest(pipeline or "", limit), write=False)
