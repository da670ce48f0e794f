"""The errors that belaypin raises, each named for what the reader should do next.

Driver exceptions never escape: they are chained as ``__cause__``. Every message says what
happened, to what, and what to do.
"""

from __future__ import annotations

__all__ = [
    "BelaypinError",
    "CorruptRecord",
    "Fenced",
    "FetchError",
    "LeaseHeld",
    "MissingDriver",
    "NotCommitted",
    "OperationRunning",
    "RequestMismatch",
    "SchemaTooNew",
    "SqlError",
    "StoreBusy",
    "StoreClosed",
    "StoreFull",
    "StoreUnavailable",
    "UsageError",
    "VersionConflict",
]


class BelaypinError(Exception):
    """Base of every error that belaypin raises on purpose."""


class UsageError(BelaypinError, ValueError):
    """Fix the call: an argument, key, item or state is not acceptable. Nothing was written."""


class SqlError(BelaypinError):
    """Fix the statement: the database refused it. The transaction that it was part of is undone.

    The driver's own exception is the ``__cause__``.
    """


class FetchError(BelaypinError):
    """Fix the fetch function: what it returned is not a page. Nothing of that page was written."""


class MissingDriver(BelaypinError, ImportError):
    """Install the extra that the message names, then run again."""


class LeaseHeld(BelaypinError):
    """Wait: another worker holds this lease. Pass ``wait_s``, or try again after it expires."""


class Fenced(BelaypinError):
    """Stop: the lease was taken over (or ended) and this write changed nothing.

    The worker that holds the lease now goes on from the last commit. Take a new lease to continue.
    """


class NotCommitted(BelaypinError):
    """Commit the previous page before the next one; belaypin never steps over a page in silence."""


class VersionConflict(BelaypinError):
    """Reload and retry: somebody else wrote this record since it was read. Nothing was written."""


class OperationRunning(BelaypinError):
    """Wait: another worker runs this operation now. Pass ``wait_s``, or try again later."""


class RequestMismatch(BelaypinError):
    """Choose a new operation id: this one was used before with another request."""


class StoreBusy(BelaypinError):
    """Retry: the database was locked for too long, or a deadlock was broken."""


class StoreUnavailable(BelaypinError):
    """Check the database and its URL, then retry: it can't be reached, or it went away."""


class StoreFull(BelaypinError):
    """Call an operator: the disk or database is full or read-only. What was committed is safe."""


class StoreClosed(BelaypinError):
    """Open the store again: it was closed, or this process was forked from its owner."""


class SchemaTooNew(BelaypinError):
    """Upgrade belaypin, or run your newer code: what is stored is newer. It was left as it is."""


class CorruptRecord(BelaypinError):
    """Call an operator: a stored record fails its checksum. It was neither decoded nor changed."""
