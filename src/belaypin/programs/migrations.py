"""Migrations: bring a store's tables up to date: one transaction a step, one runner at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from belaypin.errors import SchemaTooNew, UsageError
from belaypin.program import Program, Statement

__all__ = ["Step", "apply", "check_tables", "epoch", "pending"]


class Step(Protocol):
    """What the catalog knows of a migration."""

    @property
    def version(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def checksum(self) -> str: ...
    @property
    def statements(self) -> tuple[str, ...]: ...


def pending(steps: Sequence[Step]) -> Program[list[Step]]:
    """The steps that this store still needs. Raises SchemaTooNew if it is ahead of us."""
    rows = yield Statement("migration.exists")
    if not rows:
        return list(steps)
    applied = yield from _applied(steps)
    return [step for step in steps if step.version not in applied]


def check_tables(
    missing: Sequence[Step], steps: Sequence[Step], *, create: bool, read_only: bool
) -> None:
    """Raise UsageError if a store is not there, or behind, and may not be made or moved on."""
    if not missing or (create and not read_only):
        return
    if len(missing) == len(steps):
        raise UsageError(
            "There is no belaypin store in this database. Check the URL; `belaypin init`, or "
            "belaypin.open() without create=False and read_only=True, makes one."
        )
    if read_only:
        names = ", ".join(f"{step.version} {step.name}" for step in missing)
        raise UsageError(
            f"This store's tables are behind this belaypin, and were not changed, as it was opened "
            f"to be read only. Missing migrations: {names}. Run `belaypin migrate`, or open it once "
            f"without read_only=True."
        )


def apply(step: Step, steps: Sequence[Step], new_epoch: str) -> Program[bool]:
    """Apply one of ``steps`` under the runner's lock; False if another process just has.

    ``new_epoch`` names the store, if this step makes it.
    """
    yield Statement("migration.lock")
    yield Statement("migration.table")
    applied = yield from _applied(steps)
    if step.version in applied:
        return False
    for name in step.statements:
        yield Statement(name)
    yield Statement("meta.insert", {"name": "epoch", "value": new_epoch})
    yield Statement(
        "migration.record",
        {"version": step.version, "name": step.name, "checksum": step.checksum},
    )
    return True


def epoch() -> Program[str]:
    """Which store this is: made up when its tables were, and the same for as long as they live."""
    rows = yield Statement("meta.read", {"name": "epoch"})
    found: str = rows[0][0]
    return found


def _applied(steps: Sequence[Step]) -> Program[set[int]]:
    rows = yield Statement("migration.list")
    known = {step.version: step for step in steps}
    for version, name, checksum in rows:
        if version not in known or known[version].checksum != checksum:
            raise SchemaTooNew(
                f"This store's tables were made by another version of belaypin (its migration "
                f"{version} is {name!r}). Nothing was changed. Install a belaypin at least as new "
                f"as the one that wrote it, then run again."
            )
    return {version for version, _, _ in rows}
