"""What the sync and the async PostgreSQL backend share: errors in our words, and COPY's text."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import psycopg
from psycopg import sql

from belaypin.errors import (
    BelaypinError,
    CorruptRecord,
    SqlError,
    StoreBusy,
    StoreFull,
    StoreUnavailable,
)

__all__ = [
    "BEGIN_READ",
    "BEGIN_WRITE",
    "DRIVER_ERRORS",
    "LIMIT_LOCK_WAITS",
    "LOCK_TIMEOUT_S",
    "NEWEST_WRITER",
    "REST_BESIDE_WRITERS",
    "SIDE_LOCK_TIMEOUT_S",
    "copy_statement",
    "translate",
]

# What the pool logs our errors say: it is for those who have set up logging, and on nobody's standard error.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())

DRIVER_ERRORS = (psycopg.Error, UnicodeError)
"""What the driver raises: the last for text that is not Unicode."""

# Said in full: a server's or role's defaults must not change what our programs rely on.
BEGIN_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
BEGIN_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# Another number than before: somebody has written in the meantime, or is about to.
NEWEST_WRITER = "SELECT txid_snapshot_xmax(txid_current_snapshot())"

# Readers are in nobody's way here, but they take a processor.
REST_BESIDE_WRITERS = 1.0

# As SQLite's busy timeouts: the side is the heartbeat's, which tries again anyway.
LOCK_TIMEOUT_S = 30.0
SIDE_LOCK_TIMEOUT_S = 2.0

# Once per connection: a statement in each transaction would cost each a round trip, and an option
# in the URL would replace the user's own options and fail at poolers such as PgBouncer.
LIMIT_LOCK_WAITS = (
    "SELECT set_config('lock_timeout', %s, false) WHERE current_setting('lock_timeout') = '0'"
)


def copy_statement(table: str, columns: Sequence[str]) -> sql.Composed:
    """COPY into a table, which may be named with its schema."""
    return sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns))
    )


def translate(error: Exception, doing: str = "") -> BelaypinError:
    """The driver's error as ours, which says what to do next."""
    known: str | None = getattr(error, "sqlstate", None)  # asyncpg's errors have one too
    state = known or ("08000" if isinstance(error, psycopg.OperationalError) else "")
    kind, advice = _advice(state)
    where = f" while {doing}" if doing else ""
    return kind(f"PostgreSQL says: {str(error).strip() or type(error).__name__}{where}. {advice}")


def _advice(state: str) -> tuple[type[BelaypinError], str]:
    for prefix, kind, advice in _BY_STATE:
        if state.startswith(prefix):
            return kind, advice
    return SqlError, "Fix the statement; its transaction was undone."


_BY_STATE: tuple[tuple[str, type[BelaypinError], str], ...] = (
    ("40001", StoreBusy, "Transactions met on the same rows; run this one again."),
    ("40P01", StoreBusy, "A deadlock was broken; run this transaction again."),
    ("55P03", StoreBusy, "A row stayed locked for too long; try again."),
    ("57014", StoreBusy, "The statement was cancelled (a timeout, or by hand); try again."),
    (
        "53",
        StoreFull,
        "The server is out of disk, memory or connections. What was committed is safe.",
    ),
    ("25006", StoreFull, "The server or transaction is read-only. Connect to the primary."),
    ("XX00", CorruptRecord, "The server reports damaged data. Stop writing and restore a backup."),
    ("08", StoreUnavailable, "Check that the server runs and the URL is right, then run again."),
    ("28", StoreUnavailable, "Check the user, password and pg_hba.conf of the server."),
    ("3D000", StoreUnavailable, "Create that database first, or correct the URL."),
    ("57P", StoreUnavailable, "The server is shutting down or starting; run again in a moment."),
    ("42501", StoreUnavailable, "Grant this role the right to use (and create) belaypin's tables."),
)
