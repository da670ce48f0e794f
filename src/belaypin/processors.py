"""Processor versions: which version of the user's code has processed a stream or a document."""

from __future__ import annotations

from belaypin.errors import SchemaTooNew, UsageError
from belaypin.fields import describe
from belaypin.keys import Key

__all__ = ["check_processor", "processor_too_new"]


def check_processor(version: object) -> int:
    """The version if it can be one: a number from 0, which is what code has that names none."""
    if type(version) is int and 0 <= version < 2**63:
        return version
    raise UsageError(
        f"processor is the version of your code, a number from 0 that you raise when all shall be "
        f"processed again, not {describe(version)}."
    )


def processor_too_new(key: Key, stored: int, ours: int) -> SchemaTooNew:
    """The error for what newer code is processing."""
    return SchemaTooNew(
        f"{key} is processed by version {stored} of your code, and this worker runs version {ours}. "
        f"Nothing was written. Stop it, and run your newer code (processor={stored})."
    )
