# Generated from src/belaypin/_async/work.py by tools/generate_sync.py; do not edit.
"""Work: a transaction that begins when it is first needed, for the user's statements and ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, TypeVar

from belaypin.backends.base import Params, Result, Transaction
from belaypin.clock import monotonic_s
from belaypin.errors import UsageError
from belaypin.heartbeat import BEATS_PER_TTL
from belaypin.program import Program
from belaypin.programs import leases, outbox
from belaypin.programs.leases import Fence
from belaypin.statements import refuse_transaction_control

__all__ = ["Block", "OpenTransaction", "Work"]

T = TypeVar("T")


class OpenTransaction(Protocol):
    """How to open a transaction: the backend's way, or as part of the user's own."""

    def __call__(self, *, write: bool = True) -> AbstractContextManager[Transaction]: ...


class Work:
    """The user's side of a transaction: ``execute``, ``executemany``, ``copy`` and ``send``.

    The transaction begins, and its fencing is checked (``guard``), with the first statement.
    """

    def __init__(self, open_transaction: OpenTransaction) -> None:
        self._open_transaction = open_transaction
        self._context: AbstractContextManager[Transaction] | None = None
        self._transaction: Transaction | None = None
        self._ended = False
        self._began_s = 0.0
        self._is_used = False

    def execute(self, sql: str, params: Params = ()) -> Result:
        """Run one statement of yours in this transaction, in your driver's parameter style.

        Returns its rows and row count. Raises SqlError if the database refuses it, and UsageError
        for BEGIN, COMMIT or ROLLBACK: the block that gave you this object ends the transaction.
        """
        refuse_transaction_control(sql)
        self._is_used = True
        transaction = self._transaction or self._begun()
        return transaction.execute(sql, params)

    def executemany(self, sql: str, rows: Iterable[Params]) -> None:
        """Run one statement of yours for each row of parameters."""
        refuse_transaction_control(sql)
        self._is_used = True
        transaction = self._transaction or self._begun()
        transaction.executemany(sql, rows)

    def copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add many rows to a table of yours: by COPY on PostgreSQL, else by INSERT."""
        self._is_used = True
        transaction = self._transaction or self._begun()
        transaction.copy(table, columns, rows)

    def send(self, topic: str, payload: object, *, key: str) -> bool:
        """Enqueue a message for ``store.deliver`` in this transaction; False if it was before.

        ``key`` names the message within its topic, on every attempt: the first one under a key
        counts, until ``store.drop_delivered`` has dropped it. Of a page's item that is
        ``tx.idempotency_key(item)``. ``payload`` is as a state in ``store.save``.
        """
        sending = outbox.send(topic, payload, key)
        self._is_used = True
        return self._run(sending)

    def _begun(self) -> Transaction:
        if self._transaction is None:
            if self._ended:
                raise UsageError("This transaction has ended; use it inside its `with` block.")
            context = self._open_transaction()
            self._transaction = context.__enter__()
            self._context, self._began_s = context, monotonic_s()
            try:
                self._guard(self._transaction)
            except BaseException as error:
                self._end(error)
                raise
        return self._transaction

    def _guard(self, transaction: Transaction) -> None:
        """Check, as the transaction's first statement, that it may write at all."""

    def _renew_if_long(self, fence: Fence) -> None:
        """Renew the lease as a part of a transaction that took long, before it ends.

        While it was open the heartbeat could not renew, and once it has ended another worker could
        be faster than the heartbeat.
        """
        open_for_us = (monotonic_s() - self._began_s) * 1_000_000
        if self._transaction is not None and open_for_us * BEATS_PER_TTL > fence.ttl_us:
            self._transaction.run(leases.renew(fence))

    def _run(self, program: Program[T]) -> T:
        return self._begun().run(program)

    def _end(self, error: BaseException | None = None) -> None:
        """Commit, or undo all because of ``error``. Nothing happens if nothing was begun."""
        context, self._context, self._transaction = self._context, None, None
        self._ended = True
        if context is not None:
            traceback: TracebackType | None = error.__traceback__ if error else None
            context.__exit__(type(error) if error else None, error, traceback)


class Block(AbstractContextManager[Work]):
    """A transaction that is as long as its block."""

    def __init__(self, open_transaction: OpenTransaction) -> None:
        self._work = Work(open_transaction)

    def __enter__(self) -> Work:
        return self._work

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._work._end(error)
