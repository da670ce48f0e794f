"""The one rule for users' SQL: it does not begin or end the transaction that it is part of."""

from __future__ import annotations

import re

from belaypin.errors import UsageError

__all__ = ["refuse_transaction_control"]

_CONTROL = re.compile(
    r"(?:[\s;]|--[^\n]*\n|/\*.*?\*/)*(?:BEGIN|COMMIT|END|ABORT|START\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO\b))\b",
    re.IGNORECASE | re.DOTALL,
)
_INITIALS = frozenset("bBcCeEaAsSrR;-/ \t\r\n\f\v")


def refuse_transaction_control(sql: str) -> None:
    """Raise UsageError for BEGIN, COMMIT, ROLLBACK and their like; savepoints are fine.

    >>> refuse_transaction_control("INSERT INTO posts VALUES (1)")
    >>> refuse_transaction_control("ROLLBACK TO SAVEPOINT mine")
    """
    if sql[:1] in _INITIALS and _CONTROL.match(sql):
        raise UsageError(
            f"{sql.strip().split(None, 1)[0].upper()} would end the transaction that holds your "
            f"rows and belaypin's together. Take it out: the block ends the transaction by itself."
        )
