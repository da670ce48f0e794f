"""Components: parts of a pipeline that keep a state of their own, checkpointed with its pages."""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["Checkpointable"]

State = TypeVar("State")


@runtime_checkable
class Checkpointable(Protocol[State]):
    """What `lease.attach` takes: something that can say how it stands, and be put back there.

    >>> class Total:
    ...     amount = 0
    ...     is_complete = False
    ...     def snapshot(self) -> dict:
    ...         return {"amount": self.amount}
    ...     def restore(self, state: dict) -> None:
    ...         self.amount = state["amount"]
    >>> isinstance(Total(), Checkpointable)
    True
    """

    def snapshot(self) -> State:
        """Return all that `restore` needs: a dict, dataclass, msgspec Struct or pydantic model.

        Called at the end of every commit; it must change nothing.
        """

    def restore(self, state: State) -> None:
        """Take the place of the component that this snapshot was taken of."""

    @property
    def is_complete(self) -> bool:
        """Whether its work is finished: then its checkpoint is completed by the next commit."""
