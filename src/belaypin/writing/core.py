"""Group commit: one thread that saves what it is given, in order, in as few commits as it can.

States stand in one line. The thread takes them from its head, a batch at a time, and takes nothing
newer before the batch is settled: so no state is ever stored over a newer one, however often its
batch has to be tried. It is the same thread for sync and async code; both wait for futures.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError

from belaypin.backends.base import Backend
from belaypin.clock import jitter, monotonic_s
from belaypin.errors import BelaypinError, StoreBusy, StoreClosed, StoreFull, StoreUnavailable
from belaypin.forks import ForkGuard
from belaypin.keys import Key
from belaypin.programs import batches
from belaypin.programs.batches import Save, Written
from belaypin.records.writer_reports import LossBound, WriterFailure, WriterReport

__all__ = ["Entry", "GroupCommit"]

_BATCH_ITEMS = 500  # a transaction of more would keep other writers waiting
_BACKOFF_S = (0.02, 0.25)
_PATIENCE = 4
_LISTED_FAILURES = 100


class Entry:
    """A state in line. ``outcome`` is set once its save may return: the version, None if not yet
    durable, or why it can't be saved."""

    __slots__ = ("is_acknowledged", "outcome", "save", "since_s")

    def __init__(self, key: Key, frame: bytes, schema_version: int) -> None:
        self.save = Save(key, frame, schema_version)
        self.outcome: Future[int | None] = Future()
        self.is_acknowledged = False
        self.since_s = 0.0


class GroupCommit:
    """The line, and the thread that works it off.

    ``bound`` says how many states may be acknowledged before they are durable, and for how long. A
    batch has ``batch_items`` at most, and begins ``gather_s`` after its first state came.
    """

    def __init__(
        self,
        connect: Callable[[], Backend],
        bound: LossBound,
        *,
        batch_items: int,
        history: int,
        gather_s: float = 0.0,
    ) -> None:
        self.bound = bound
        self.last_error: BelaypinError | None = None
        """Why the batch that is being written has not come through yet."""
        self._connect = connect
        self._history = history
        self._batch_items = min(batch_items, _BATCH_ITEMS)
        self._gather_items = self._batch_items
        self._gather_s = gather_s
        self._passing: tuple[type[BelaypinError], ...] = (StoreBusy, StoreUnavailable)
        if bound.items:
            # Half of the bound is for gathering, the other half for the commit.
            self._gather_items = min(max(bound.items // 2, 1), self._batch_items)
            self._gather_s = bound.delay_s / 2
            self._passing = (*self._passing, StoreFull)  # what was acknowledged is not given up
        # Reentrant, as a signal's handler may drain in the midst of a save.
        self._changed = threading.Condition(threading.RLock())
        self._acknowledged: deque[Entry] = deque()
        self._waiting: deque[Entry] = deque()  # behind those
        self._batch: dict[Entry, None] = {}  # before those
        self._at_risk = 0  # acknowledged, in the batch or in line
        self._hurried = 0  # how many at the head of the line are not to wait for others
        self._expected = 0  # how many callers may come back soon
        self._expected_until_s = 0.0
        self._began_s = 0.0
        self._is_closing = False
        self._given_up = threading.Event()
        self._thread: threading.Thread | None = None
        self._forks = ForkGuard()
        self._tally = _Tally()
        self._untold: list[tuple[Key, Exception]] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done here: it was closed, or this is a forked child."""
        return self._forks.is_child or self._given_up.is_set()

    def report(self) -> WriterReport:
        if self._forks.is_child:
            return WriterReport()
        with self._changed:
            return self._tally.report(self._in_line() + len(self._batch))

    def add(self, entry: Entry) -> None:
        """Put a state in line; its outcome is there at once if it is acknowledged by that."""
        self._forks.check()
        with self._changed:
            if self._is_closing:
                raise StoreClosed("The writer was closed. Get another with store.writer().")
            entry.since_s = monotonic_s()
            self._waiting.append(entry)
            self._acknowledge()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="belaypin-writer", daemon=True
                )
                self._thread.start()
            elif self._waiting or self._in_line() in (1, self._gather_items):
                self._changed.notify_all()

    def withdraw(self, entry: Entry) -> bool:
        """Take out a state that its caller no longer waits for; False: it is being written.

        Then it is not tried again, but may be stored.
        """
        if self._forks.is_child:
            return True
        with self._changed:
            entry.outcome.cancel()
            if entry in self._waiting:
                self._waiting.remove(entry)
            return entry not in self._batch

    def drain(self, timeout_s: float) -> bool:
        """Wait until all that is in line now is settled; False if it is not after so long."""
        if self._forks.is_child:
            return True
        deadline_s = monotonic_s() + timeout_s
        with self._changed:
            left = {*self._batch, *self._acknowledged, *self._waiting}
            self._hurried = self._in_line()
            self._changed.notify_all()
            while left := left.intersection((*self._batch, *self._acknowledged, *self._waiting)):
                left_s = deadline_s - monotonic_s()
                if left_s <= 0 or self._given_up.is_set():
                    return False
                self._changed.wait(left_s)
        return True

    def close(self, timeout_s: float) -> bool:
        """Take nothing more, ``drain``, and end the thread; False if something is left."""
        if self._forks.is_child:
            return True
        with self._changed:
            self._is_closing = True
        drained = self.drain(timeout_s)
        with self._changed:
            self._given_up.set()
            self._changed.notify_all()
            thread = self._thread
        if drained and thread is not None:
            thread.join()
        return drained

    def unsaved(self) -> list[Key]:
        """The Keys of the states that are not durable yet, in line."""
        with self._changed:
            entries = (*self._batch, *self._acknowledged, *self._waiting)
            return [entry.save.key for entry in entries]

    def take_failures(self) -> list[tuple[Key, Exception]]:
        """What was refused after it had been acknowledged, and nobody has been told yet."""
        untold, self._untold = self._untold, []
        return untold

    # --- the line: always under the lock ----------------------------------------------------------

    def _in_line(self) -> int:
        return len(self._acknowledged) + len(self._waiting)

    def _acknowledge(self) -> None:
        """Let those return, in their order, for whom the bound has room."""
        while self._waiting and self._has_room():
            entry = self._waiting.popleft()
            entry.is_acknowledged, entry.since_s = True, monotonic_s()
            self._acknowledged.append(entry)
            self._at_risk += 1
            _resolve(entry, None)

    def _has_room(self) -> bool:
        if self._at_risk >= self.bound.items:
            return False
        oldest = next(iter(self._batch), self._acknowledged[0] if self._acknowledged else None)
        if oldest is None or not oldest.is_acknowledged:
            return True
        return monotonic_s() - oldest.since_s <= self.bound.delay_s

    def _due_in_s(self) -> float | None:
        """When the next batch begins; None: not before something changes."""
        in_line = self._in_line()
        if not in_line:
            return None
        is_full = in_line >= self._gather_items or (self.bound.items and self._waiting)
        if is_full or self._hurried:
            return 0
        first = self._acknowledged[0] if self._acknowledged else self._waiting[0]
        due_s = first.since_s + self._gather_s
        if in_line < self._expected:
            due_s = max(due_s, self._expected_until_s)
        return due_s - monotonic_s()

    def _next_batch(self) -> list[Entry]:
        """The head of the line; the bound is tested before anything is taken."""
        while len(self._batch) < self._batch_items and self._in_line():
            line = self._acknowledged or self._waiting
            self._batch[line.popleft()] = None
        self._hurried = max(0, self._hurried - len(self._batch))
        return list(self._batch)

    def _settle(self, entries: Sequence[Entry], outcomes: Sequence[int | Exception]) -> None:
        with self._changed:
            now_s = monotonic_s()
            self._expect(entries, now_s)
            for entry, outcome in zip(entries, outcomes, strict=True):
                del self._batch[entry]
                self._at_risk -= entry.is_acknowledged
                if isinstance(outcome, int):
                    self._tally.saved_after(now_s - entry.since_s)
                else:
                    self._tally.failed_with(entry.save.key, outcome)
                    if entry.is_acknowledged:
                        self._untold.append((entry.save.key, outcome))
                _resolve(entry, outcome)
            self._acknowledge()
            self._changed.notify_all()

    def _expect(self, entries: Sequence[Entry], now_s: float) -> None:
        """Whose saves return now may have more: wait for them, for a part of what a commit takes.

        Otherwise half of the callers would always be on their way while the others' batch begins.
        """
        returning = sum(not entry.is_acknowledged for entry in entries)
        self._expected = min(returning + self._in_line(), self._batch_items) if returning else 0
        self._expected_until_s = now_s + (now_s - self._began_s) / _PATIENCE

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while batch := self._take():
            self._write(batch)

    def _take(self) -> list[Entry]:
        """Wait for a batch that is due; empty once the writer was closed."""
        with self._changed:
            while not self._given_up.is_set():
                wait_s = self._due_in_s()
                if wait_s is not None and wait_s <= 0:
                    return self._next_batch()
                self._changed.wait(wait_s)
            return []

    def _write(self, entries: Sequence[Entry]) -> None:
        """Save a batch, however often it has to be tried, before anything newer."""
        pause_s = _BACKOFF_S[0]
        while entries:
            try:
                outcomes = self._commit([entry.save for entry in entries])
            except self._passing as error:
                self.last_error = error
                self._tally.retried += 1
                if self._given_up.wait(jitter(pause_s / 2, pause_s)):
                    return
                pause_s = min(2 * pause_s, _BACKOFF_S[1])
                entries = self._still_wanted(entries)
            except Exception as error:  # noqa: BLE001 -- handed to those who wait for it
                self._write_apart(entries, error)
                return
            else:
                self.last_error = None
                self._settle(entries, outcomes)
                return

    def _write_apart(self, entries: Sequence[Entry], error: Exception) -> None:
        """Find by halving which state the database refuses, and save the others."""
        half = len(entries) // 2
        if not half or isinstance(error, (StoreClosed, StoreFull)):
            self._settle(entries, [error] * len(entries))
            return
        self._write(entries[:half])
        self._write(entries[half:])

    def _still_wanted(self, entries: Sequence[Entry]) -> list[Entry]:
        with self._changed:
            for entry in entries:
                if entry.outcome.cancelled():
                    del self._batch[entry]
            self._changed.notify_all()
            return [entry for entry in entries if entry in self._batch]

    def _commit(self, saves: Sequence[Save]) -> Sequence[int | Exception]:
        written: Written | None = None
        self._began_s = monotonic_s()
        try:
            with self._connect().transaction() as transaction:
                written = transaction.run(batches.save(saves, self._history))
        except (StoreBusy, StoreUnavailable):
            if written is None or not self._came_through(saves, written):
                raise
        self._tally.batches += 1
        return written.outcomes

    def _came_through(self, saves: Sequence[Save], written: Written) -> bool:
        """Whether a COMMIT whose answer was lost took place: asked until the database knows."""
        while True:
            found: bool | None = None
            try:
                with self._connect().transaction(write=False) as transaction:
                    found = transaction.run(batches.took_place(saves, written))
            except (StoreBusy, StoreUnavailable) as error:
                self.last_error = error
            if found is not None:
                return found
            if self._given_up.wait(jitter(*_BACKOFF_S)):
                return False


class _Tally:
    """What has been done so far."""

    def __init__(self) -> None:
        self.batches = 0
        self.retried = 0
        self._saved = 0
        self._failed = 0
        self._failures: list[WriterFailure] = []
        self._longest_s = 0.0

    def saved_after(self, delay_s: float) -> None:
        self._saved += 1
        self._longest_s = max(self._longest_s, delay_s)

    def failed_with(self, key: Key, error: Exception) -> None:
        self._failed += 1
        if len(self._failures) < _LISTED_FAILURES:
            self._failures.append(WriterFailure(key, f"{type(error).__name__}: {error}"))

    def report(self, pending: int) -> WriterReport:
        return WriterReport(
            saved=self._saved,
            batches=self.batches,
            retried=self.retried,
            failed=self._failed,
            failures=tuple(self._failures),
            pending=pending,
            longest_delay_s=self._longest_s,
        )


def _resolve(entry: Entry, outcome: int | Exception | None) -> None:
    """Let the save return, if it has not returned, timed out or been cancelled before."""
    try:
        if isinstance(outcome, Exception):
            entry.outcome.set_exception(outcome)
        else:
            entry.outcome.set_result(outcome)
    except InvalidStateError:
        pass
