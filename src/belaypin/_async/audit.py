"""The audit: who changed history, gave up an item or took over; what else acts notes it there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from belaypin._async.records import KeyLike
from belaypin.errors import UsageError
from belaypin.fields import check_count, describe
from belaypin.keys import Key
from belaypin.process import owner_name
from belaypin.program import Program

if TYPE_CHECKING:
    from belaypin.records.checkpoints import AuditEntry

__all__ = ["AsyncAudit"]

T = TypeVar("T")

_NEWEST = 2**63 - 1


class AsyncAudit(ABC):
    """Acts that have to be accounted for, newest first."""

    @abstractmethod
    async def _run(self, program: Program[T], *, write: bool = True) -> T:
        """Run one program as one transaction."""

    @property
    def _actor(self) -> str:
        """Who acts, as the audit names them."""
        return owner_name("").removesuffix("/")

    async def audit(
        self,
        key: KeyLike | None = None,
        *,
        actor: str | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[AuditEntry]:
        """What was done to history at a Key and beneath it (None: anywhere), newest first.

        Rewinds, forks, replays and the like are noted in the very transaction that does them.
        ``actor``: by those with this in their names, such as a machine or "pid-4711", in upper or
        lower case. ``before``: go on behind the entry of that ``number``.
        """
        from belaypin.programs import audit

        check_count("limit", limit, at_least=1)
        if actor is not None and not isinstance(actor, str):
            raise UsageError(f"actor must be text, not {describe(actor)}.")
        where = None if key is None else Key.of(key)
        reading = audit.read(where, actor, _NEWEST if before is None else before, limit)
        return await self._run(reading, write=False)
