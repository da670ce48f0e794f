# Generated from src/belaypin/_async/taking.py by tools/generate_sync.py; do not edit.
"""How a lease is taken: waited for, taken over from the dead, and found out about if nobody answers."""

from __future__ import annotations

from belaypin.backends.base import Backend
from belaypin.clock import jitter, monotonic_s, sleep_s, unique_id
from belaypin.errors import LeaseHeld, StoreBusy, StoreUnavailable
from belaypin.keys import Key
from belaypin.process import is_surely_dead, owner_name
from belaypin.programs import leases, runs
from belaypin.programs.leases import Fence, Holder

__all__ = ["Taking"]

_POLL_S = (0.02, 0.25)
_ROW_WAIT_S = (0.25, 1.0)  # so long for a locked row: time for a release, not for one that stands
_OUTCOME_LOOKS = 5
_OUTCOME_PAUSE_S = 0.5


class Taking:
    """One worker's way to the lease of a Key in a role, under a name that nobody else has."""

    def __init__(self, backend: Backend, key: Key, role: str, ttl_us: int, wait_us: int) -> None:
        self._key = key
        self._role = role
        self.ttl_s = ttl_us / 1_000_000
        self.only_after = 0
        """In recovery: the token that the lease had when the plan was made."""
        self._backend = backend
        self._ttl_us = ttl_us
        self._wait_s = wait_us / 1_000_000
        self._owner = owner_name(unique_id())

    def take(self) -> Fence:
        """The lease, once it is free. Raises LeaseHeld when the time to wait for it is over."""
        deadline_s = monotonic_s() + self._wait_s
        while True:
            left_s = deadline_s - monotonic_s()
            wait_ms = int(min(max(left_s, _ROW_WAIT_S[0]), _ROW_WAIT_S[1]) * 1000)
            found = self._try(None, wait_ms)
            if isinstance(found, Holder) and is_surely_dead(found.owner):
                found = self._try(found.owner, wait_ms)
            if isinstance(found, Fence):
                return found
            self._wait(found, deadline_s)

    def abandon(self) -> None:
        """End it, whether it was taken or not: nobody would renew or release it."""
        with self._backend.transaction() as transaction:
            transaction.run(leases.abandon(self._key, self._role, self._owner))

    def _try(self, dead_owner: str | None, wait_ms: int) -> Fence | Holder:
        begun = False
        found: Fence | Holder | None = None
        taking = runs.begin(
            self._key,
            self._role,
            self._owner,
            self._ttl_us,
            dead_owner,
            wait_ms,
            self.only_after,
        )
        try:
            with self._backend.transaction() as transaction:
                begun = True
                found = transaction.run(taking)
        except (StoreBusy, StoreUnavailable) as error:
            if isinstance(found, Fence):
                if not self._came_through(found):
                    raise
            elif begun and isinstance(error, StoreBusy):
                # Its row is locked, by a transaction of its holder as a rule.
                found = self._read_holder()
            if found is None:
                raise
        return found

    def _read_holder(self) -> Holder | None:
        with self._backend.transaction(write=False) as transaction:
            return transaction.run(leases.holder(self._key, self._role))

    def _came_through(self, taken: Fence) -> bool:
        """Whether a COMMIT whose answer was lost took place: the owner's name is used but once."""
        for _ in range(_OUTCOME_LOOKS):
            try:
                with self._backend.transaction() as transaction:
                    holder = transaction.run(leases.settled_holder(self._key, self._role))
            except (StoreBusy, StoreUnavailable):
                sleep_s(_OUTCOME_PAUSE_S)
                continue
            return holder is not None and (holder.owner, holder.token) == (taken.owner, taken.token)
        return False

    def _wait(self, holder: Holder, deadline_s: float) -> None:
        left_s = deadline_s - monotonic_s()
        expires_s = (holder.expires_us - holder.now_us) / 1_000_000
        if left_s <= 0:
            until = f"for another {expires_s:.1f} s unless it is renewed"
            if expires_s <= 0:
                until = "whose time is over, but a transaction still has its row locked"
            raise LeaseHeld(
                f"{self._key} (role {self._role}) is held by {holder.owner} with token "
                f"{holder.token}, {until}. Work on another entity, or pass wait_s to wait for it."
            )
        pause_s = min(jitter(*_POLL_S), left_s, max(expires_s, _POLL_S[0]))
        sleep_s(pause_s)
