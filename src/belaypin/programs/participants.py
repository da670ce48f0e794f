"""Participants: what takes part in a commit outside the database, such as a file of its rows.

A participant is made durable before COMMIT, noted in the commit's own transaction, and shown after
it. So whatever happens in between, the note tells whoever comes next what has to become of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, cast

from belaypin.errors import SqlError, StoreFull, UsageError
from belaypin.program import Program
from belaypin.programs.leases import Fence
from belaypin.programs.pages import StreamRow

__all__ = ["Participant", "Participants"]

_REFUSED = (SqlError, StoreFull)
"""What the database answers to a COMMIT that surely did not take place."""


class Participant(Protocol):
    """One part of one commit. All but ``note`` may ask the machine; ``seal`` and ``publish`` block."""

    @property
    def order(self) -> str:
        """Where its note stands among others: every worker locks rows in one order."""

    def hold(self) -> None:
        """What comes from now on may have to be undone by itself: an item is being attempted."""

    def settle(self, *, keep: bool) -> None:
        """Keep what came since `hold`, or undo it; the rest stays."""

    def seal(self) -> None:
        """Make it durable, in a way that can still be undone."""

    def note(self, row: StreamRow) -> Program[None]:
        """Write into the commit's transaction what must be known to finish it."""

    def publish(self) -> None:
        """The commit is durable: finish it. What fails here is left to recovery."""

    def undo(self) -> None:
        """The commit did not take place."""

    def abandon(self) -> None:
        """Nobody knows whether the commit took place: leave it to recovery."""


P = TypeVar("P", bound=Participant)


class Participants:
    """Those of one commit, each found again by who enlisted it."""

    def __init__(self, epoch: str, fence: Fence, *, is_joined: bool) -> None:
        self.epoch = epoch
        """Which store the commit is made in."""
        self.fence = fence
        self.is_committing = False
        """Whether COMMIT was sent: from then on only the database knows whether it took place."""
        self._enlisted: dict[object, Participant] = {}
        self._is_joined = is_joined
        self._is_holding = False

    def __bool__(self) -> bool:
        return bool(self._enlisted)

    def __iter__(self) -> Iterator[Participant]:
        return iter(sorted(self._enlisted.values(), key=lambda participant: participant.order))

    def enlisted(self, who: object, begin: Callable[[Participants], P]) -> P:
        """What ``who`` has begun in this commit, or begins now."""
        found = self._enlisted.get(who)
        if found is not None:
            return cast("P", found)
        if self._is_joined:
            raise UsageError(
                "What is outside the database can't take part in a transaction of your own: nobody "
                "would tell it when you commit. Use page.commit() without a joined connection."
            )
        participant = self._enlisted[who] = begin(self)
        if self._is_holding:
            participant.hold()
        return participant

    def hold(self) -> None:
        """An item is attempted from here on, until `settle`."""
        self._is_holding = True
        for participant in self:
            participant.hold()

    def settle(self, *, keep: bool) -> None:
        """The attempt is over: what came since `hold` is kept, or undone."""
        self._is_holding = False
        for participant in self:
            participant.settle(keep=keep)

    def undo(self, error: BaseException) -> None:
        """The commit failed because of ``error``."""
        is_in_doubt = self.is_committing and not isinstance(error, _REFUSED)
        for participant in self:
            try:
                participant.abandon() if is_in_doubt else participant.undo()
            except Exception as second:  # noqa: BLE001 -- the first error goes first
                error.add_note(f"and what was outside the database was not undone: {second!r}")
