"""The workers of the explorer: threads that are stopped at gates, on connections of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import belaypin
from belaypin import urls
from belaypin._sync.store import Store
from belaypin.backends.base import Backend, Transaction
from belaypin.clock import Clock, monotonic_s
from belaypin.errors import StoreBusy
from belaypin.testing.footprints import Footprint, footprint
from belaypin.testing.gates import GatedBackend, Point

__all__ = ["Company", "Player"]

_LOOK_S = 0.002
"""How long a step may take before we look whether it waits for a row."""
_STUCK_S = 60.0
_NOTHING: frozenset[str] = frozenset()


class _Crash(BaseException):
    """Ends a worker's thread: no ``except Exception`` catches it, no later statement gets through."""


class Player:
    """What a worker gets: its store, and a way to be stopped at points of its own."""

    def __init__(
        self, name: str, backend: Backend, clock: Clock | None, news: SimpleQueue[Player]
    ) -> None:
        self.name = name
        self._clock = clock
        self._opened: list[Store] = []
        self.store = Store(GatedBackend(_Kept(backend), self._gate))
        self.error: BaseException | None = None
        self._news = news
        self._go = threading.Semaphore(0)
        self._point: Point | None = None
        self._written: frozenset[str] | None = _NOTHING
        self._is_in_transaction = False
        self._is_backstage = False
        self._is_crashed = False
        self._is_done = False
        self.backend_pid: int | None = None
        """The server process of the open transaction, where there is one (PostgreSQL)."""

    def point(self, name: str) -> None:
        """Stop here, as before a statement: what follows may happen before or after all others."""
        self._stop(Point("own", name))

    @contextmanager
    def backstage(self) -> Iterator[None]:
        """Not stopped in this block: for what has happened before the curtain rises.

        Workers do this one after the other, in the order of the stage, up to their first stop.
        """
        self._is_backstage = True
        try:
            yield
        finally:
            self._is_backstage = False

    def open(self, url: str) -> Store:
        """Another store, stopped like ``store``; as it is, its tables neither made nor checked."""
        backend = belaypin._backend(urls.parse_url(url), self._clock)
        self._opened.append(Store(GatedBackend(backend, self._gate)))
        return self._opened[-1]

    # --- the worker's thread --------------------------------------------------------------------

    def perform(self, work: Callable[[Player], None]) -> None:
        try:
            work(self)
        except BaseException as error:  # noqa: BLE001 -- handed to the scheduler, who raises it
            self.error = error
        finally:
            self._is_done = True
            self._news.put(self)

    def _gate(self, point: Point) -> None:
        if self._is_crashed:
            raise _Crash
        if self._is_backstage:
            return
        if self.store._backend.dialect == "postgres":
            self._gate_statement(point)
        else:
            self._gate_transaction(point)

    def _gate_transaction(self, point: Point) -> None:
        """SQLite: between its beginning and its end, a transaction is alone."""
        self._stop(point)
        self._is_in_transaction = point.kind in ("begin", "statement")

    def _gate_statement(self, point: Point) -> None:
        """PostgreSQL: BEGIN does nothing yet, and a read-only transaction sees one moment."""
        if point.kind == "begin":
            self._written = _NOTHING
            if not point.write:
                self._stop(point)
            return
        if not point.write:
            return
        if self.backend_pid is None and point.transaction is not None:
            self.backend_pid = point.transaction.execute("SELECT pg_backend_pid()").rows[0][0]
        self._stop(point)
        if point.kind == "statement":
            more = footprint(point, None).writes
            known = self._written is not None and more is not None
            self._written = self._written | more if known else None  # type: ignore[operator]
        else:
            self.backend_pid = None

    def _stop(self, point: Point) -> None:
        if self._is_crashed:
            raise _Crash
        self._point = point
        self._news.put(self)
        self._go.acquire()
        if self._is_crashed:
            raise _Crash

    # --- the scheduler's thread -----------------------------------------------------------------

    @property
    def is_done(self) -> bool:
        return self._is_done

    @property
    def is_stopped(self) -> bool:
        return self._point is not None

    @property
    def is_alone(self) -> bool:
        """Whether nobody else may take a step now: it holds the SQLite file."""
        return self._is_in_transaction and self.is_stopped

    @property
    def ends_transaction(self) -> bool:
        """Whether its next step is a COMMIT or a ROLLBACK, which sets rows free."""
        return self._point is not None and self._point.kind in ("commit", "rollback")

    def footprint(self) -> Footprint:
        assert self._point is not None
        if self.store._backend.dialect != "postgres":
            return Footprint(None, None)
        return footprint(self._point, self._written)

    def describe(self) -> str:
        return f"{self.name}: {self._point}"

    def close(self) -> None:
        for store in (self.store, *self._opened):
            store.close()

    def go(self) -> None:
        self._point = None
        self._go.release()

    def crash(self) -> None:
        self._is_crashed = True
        self.go()


class Company:
    """The workers of one run after the other; their connections are kept from run to run."""

    def __init__(self, url: str, clock: Clock | None) -> None:
        self.steps: list[str] = []
        self.crashes = 0
        self.has_waited = False
        self._target = urls.parse_url(url)
        self._clock = clock
        self._backends: dict[str, Backend] = {}
        self._players: dict[str, Player] = {}
        self._threads: list[threading.Thread] = []
        self._news: SimpleQueue[Player] = SimpleQueue()
        self._waiting: set[str] = set()
        self._open = ExitStack()
        self._observer: Transaction | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def enter(self, workers: Mapping[str, Callable[[Player], None]]) -> None:
        """Start a run: every worker goes to its first stop, one after the other."""
        self.steps, self.crashes, self.has_waited = [], 0, False
        self._waiting = set()
        self._players, self._threads = {}, []
        for name, work in workers.items():
            player = Player(name, self._backend(name), self._clock, self._news)
            self._players[name] = player
            thread = threading.Thread(target=player.perform, args=(work,), daemon=True)
            self._threads.append(thread)
            thread.start()
            self._settle()

    def leave(self) -> None:
        """End the run: whoever is still at work is crashed."""
        for name in self._waiting:
            self._look("SELECT pg_terminate_backend(%s)", self._players[name].backend_pid)
        for player in self._players.values():
            player.crash()
        for thread in self._threads:
            thread.join(_STUCK_S)
        while not self._news.empty():
            self._news.get()
        for player in self._players.values():
            player.close()

    @property
    def is_busy(self) -> bool:
        """Whether any worker has not ended yet."""
        return any(not player.is_done for player in self._players.values())

    def ready(self) -> list[str]:
        """The workers that can take a step now."""
        stopped = [p for p in self._players.values() if p.is_stopped and not p.is_done]
        alone = [p for p in stopped if p.is_alone]
        return [p.name for p in alone or stopped]

    def describe(self, name: str) -> str:
        """The worker and its next step."""
        return self._players[name].describe()

    def footprint(self, name: str) -> Footprint:
        """What the worker's next step touches."""
        return self._players[name].footprint()

    def step(self, name: str) -> None:
        """Let the worker take its next step, and wait until nothing moves any more."""
        player = self._players[name]
        self.steps.append(player.describe())
        frees = player.ends_transaction
        player.go()
        self._settle(frees=frees)

    def crash(self, name: str) -> None:
        """Crash the worker before its next step."""
        player = self._players[name]
        self.steps.append(f"{player.describe()} -- CRASH")
        self.crashes += 1
        player.crash()
        self._settle()

    def raise_errors(self) -> None:
        """Raise what a worker let escape."""
        for player in self._players.values():
            if player.error is not None and not isinstance(player.error, _Crash):
                raise player.error

    def describe_waits(self) -> str:
        return ", ".join(sorted(self._waiting)) + " wait for each other"

    def _settle(self, *, frees: bool = True) -> None:
        """Wait until each of the workers has stopped, ended, or waits for somebody's row.

        Rows are set free only where a transaction ends: else those who waited still do.
        """
        patience_s = monotonic_s() + _STUCK_S
        waited = self._waiting
        still: set[str] = set() if frees else waited
        self._waiting = still
        while moving := {n for n in self._players if n not in still and not self._is_at_rest(n)}:
            # Those who waited before most likely still do: look at once, without a pause.
            if not moving <= waited and self._has_news():
                continue
            # All of them at one time: while one still moves, another may yet be set free by it.
            if self._blocked(moving) == moving:
                self.steps += [f"({name} waits)" for name in sorted(moving - waited)]
                self._waiting, self.has_waited = still | moving, True
                return
            waited = set()
            if monotonic_s() > patience_s:
                raise StoreBusy(
                    f"{sorted(moving)} did not come to a stop within {_STUCK_S:g} s after "
                    f"{self.steps[-1:]}: a worker must not wait for another in its own code."
                )

    def _has_news(self) -> bool:
        try:
            self._news.get(timeout=_LOOK_S)
        except Empty:
            return False
        return True

    def _is_at_rest(self, name: str) -> bool:
        player = self._players[name]
        return player.is_done or player.is_stopped

    def _blocked(self, names: set[str]) -> set[str]:
        """Those of the workers that wait for a row which another one has locked."""
        pids = {name: pid for name in names if (pid := self._players[name].backend_pid)}
        query = "SELECT cardinality(pg_blocking_pids(%s))"
        return {name for name, pid in pids.items() if self._look(query, pid)[0][0]}

    def _look(self, sql: str, pid: int | None) -> list[tuple[int]]:
        if self._observer is None:
            # One transaction for all looks: what they ask for does not depend on its snapshot.
            backend = self._backend("the scheduler")
            self._observer = self._open.enter_context(backend.transaction(write=False))
        return self._observer.execute(sql, (pid,)).rows

    def _backend(self, name: str) -> Backend:
        if name not in self._backends:
            self._backends[name] = backend = belaypin._backend(self._target, self._clock)
            self._open.callback(backend.close)
        return self._backends[name]


class _Kept:
    """A backend that outlives the stores that use it."""

    def __init__(self, backend: Backend) -> None:
        self.dialect = backend.dialect
        self.pinned_clock = backend.pinned_clock
        self.transaction = backend.transaction
        self.is_writing = backend.is_writing
        self.forsake = backend.forsake
        self.side = backend.side
        self.shrink = backend.shrink
        self.for_threads = backend.for_threads

    def close(self) -> None:
        """The company closes it."""
