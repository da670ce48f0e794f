# Generated from src/belaypin/_async/checks.py by tools/generate_sync.py; do not edit.
"""Item checks through the cache: this process, then Redis, then the database, which has the word."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future, wait
from threading import Lock
from typing import Any, Protocol, TypeVar

from belaypin.cache import WAIT_S, WAIT_S_PER_ID, Cache
from belaypin.clock import monotonic_s
from belaypin.ids import ItemId
from belaypin.keys import Key
from belaypin.program import Program
from belaypin.programs import facts
from belaypin.programs.facts import Found, Proof, Standing

__all__ = ["Checks"]

T = TypeVar("T")

_STREAMS = 10_000
_FLIGHT_S = 1.0  # who waits longer than this for another's read may be what that one waits for


class Run(Protocol):
    """Run one program as one transaction."""

    def __call__(self, program: Program[T], *, write: bool = True) -> T: ...


class Checks:
    """Which ids are committed, with the least that the database has to do for it.

    Each call reads the stream's row and the segments that the tiers' claims name, so its answer is
    the one that it would be without them.
    """

    def __init__(self, cache: Cache, run: Run) -> None:
        self._cache = cache
        self._run = run
        self._standings: OrderedDict[Key, Standing] = OrderedDict()
        self._flights = _Flights()

    def committed(self, key: Key, ids: Sequence[ItemId]) -> Collection[ItemId]:
        """Those of the ids that are committed."""
        stands = self._standings.get(key) or self._run(facts.standing(key), write=False)
        if stands is None:
            return ()
        wanted = list(dict.fromkeys(ids))
        claims = self._cache.claims(stands, wanted)
        left = [item_id for item_id in wanted if item_id not in claims]
        asked = self._cache.ask(stands, left)
        if asked is not None:
            began_s = monotonic_s()
            _done(asked, WAIT_S + len(left) * WAIT_S_PER_ID)
            claims |= self._cache.answered(stands, left, asked, monotonic_s() - began_s)
        same = (key, frozenset(wanted))
        return self._flights.take(same, lambda: self._read(key, wanted, claims, stands))

    def close(self) -> None:
        """End the connection to Redis."""
        self._cache.close()

    def _read(
        self, key: Key, ids: list[ItemId], claims: dict[ItemId, Proof], claimed_at: Standing
    ) -> Collection[ItemId]:
        found: Found = self._run(facts.find(key, ids, claims, claimed_at), write=False)
        if found.standing is None:
            self._standings.pop(key, None)
            return ()
        self._standings[key] = found.standing
        if len(self._standings) > _STREAMS:
            self._standings.popitem(last=False)
        is_as_claimed = found.standing == claimed_at
        self._cache.learn(found.standing, found.proofs, claims if is_as_claimed else {})
        return found.proofs.keys()


class _Flights:
    """Who asks the same while a read is on its way shares the next read with the others.

    Never the one on its way: that may have begun before a commit that the caller knows of.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[Hashable, Future[Any]] = {}
        self._running: dict[Hashable, Future[Any]] = {}

    def take(self, what: Hashable, call: Callable[[], T]) -> T:
        """What ``call`` returns, or what it returned to somebody who asked the same."""
        before: Future[Any] | None = None
        with self._lock:
            flight = self._waiting.get(what)
            is_ours = flight is None
            if flight is None:
                flight = self._waiting[what] = Future()
                before = self._running.get(what)
        if not is_ours:
            is_in = _done(flight, _FLIGHT_S)
            found: T | None = flight.result() if is_in else None
            return found if found is not None else call()
        return self._lead(what, flight, before, call)

    def _lead(
        self,
        what: Hashable,
        flight: Future[Any],
        before: Future[Any] | None,
        call: Callable[[], T],
    ) -> T:
        found: T | None = None
        try:
            if before is not None:
                _done(before, _FLIGHT_S)
            with self._lock:
                del self._waiting[what]
                self._running[what] = flight
            found = call()
            return found
        finally:
            with self._lock:
                for table in (self._waiting, self._running):
                    if table.get(what) is flight:
                        del table[what]
            flight.set_result(found)  # None if it failed: then each of them tries for himself


def _done(future: Future[Any], limit_s: float) -> bool:
    """Wait for the future, but no longer than that; whether it is done."""
    wait([future], limit_s)
    return future.done()
